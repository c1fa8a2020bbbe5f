// What finetune() decides before its first step: from options to the adapter in memory, the data, and the
// plan of a step. Each is a function of the options and the files alone.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "adapter/parameters.h"
#include "base/machine.h"
#include "data/batch.h"
#include "data/samples.h"
#include "model/step.h"
#include "train/checkpoint.h"
#include "train/options.h"

namespace lora {

// Of each tensor what the options give, of the other linear layers of a block lora_r, else 4. Error for ranks
// out of range, and for tensors that the model, or the blocks of options.layers, do not have.
Ranks ranks_of(const FinetuneOptions& options, const Model& model);

// What the rank of a tensor was given by: "--rank-wq", "--rank attn_q".
std::string rank_flag_of(const FinetuneOptions& options, std::string_view tensor);
// What these options call a setting of a checkpoint, where ranks are rank_flag_of(tensor).
std::function<std::string(std::string_view setting)> typed_names(const FinetuneOptions& options);

// A fresh adapter, or lora_init's. Error if lora_init disagrees with a rank, alpha or blocks given beside it,
// or if the fresh one is beyond the memory budget; then nothing was allocated.
LoraParameters initial_parameters(const FinetuneOptions& options, const Model& model, uint64_t seed,
                                  const std::optional<Adapter>& lora_init);

// Whether samples are kept from training, to be evaluated.
bool has_held_out(const FinetuneOptions& options);

// Error naming the flag for options that contradict each other.
void check_options(const FinetuneOptions& options);

// Iterations of the whole run: adam_iter or lbfgs_iter, or from epochs; Error for more than an iteration's
// number can hold.
int64_t iteration_count(const FinetuneOptions& options, int64_t n_samples);

// Error if a rank, alpha, rsLoRA or blocks that options name is not the checkpoint's, where nothing is
// trained and the rest of its settings does not matter.
void expect_asked_for(const FinetuneOptions& options, const Model& model, const Checkpoint& checkpoint,
                      const std::string& path);

// The settings that decide the numbers, in words, with the fingerprint of the model, without that of the
// data: what a checkpoint must agree with. Learning rate, iterations, threads, memory and paths are not among
// them.
Settings run_settings(const FinetuneOptions& options, const Model& model, const LoraParameters& parameters);

// What decides the numbers too and may be changed on resume, with a word: the learning rate and what it goes
// by, the optimizer's numbers, the precision. Shares of the run are iterations of n_iter.
Settings changeable_settings(const FinetuneOptions& options, int64_t n_iter, Arithmetic arithmetic);

// The options with files in place of the folders of train_data and val_data (data/data_files.h). `say` gets
// what is to be known of them.
FinetuneOptions with_data_files(const FinetuneOptions& options, const Say& say);

// How the text is cut into samples.
TextOptions text_options(const FinetuneOptions& options);

// Whether rows are filled with further samples: asked for, or implied by plain_fill.
bool fills_rows(const FinetuneOptions& options);

// What a precision means for the model. `automatic` is 8-bit integers where training is faster with them and
// no less exact than in bf16 (prefers_int8_training(), Architecture::gradient_bytes), if a matrix has such
// products.
Arithmetic arithmetic_of(const Model& model, Precision precision);

// What is to be known of the arithmetic that a precision has come to: that it is 8-bit integers by itself, or
// is not since the run began in floats or for the family's sake, that others are faster here, and which
// matrices are left in floats, since there are no such products of their types.
std::vector<std::string> arithmetic_notes(const Model& model, Precision precision, Arithmetic arithmetic);

// Bytes that a run may take beyond the mapped model: --memory, or nine tenths of what the machine has to
// spare. nullopt: without --memory, where the machine does not tell.
std::optional<uint64_t> memory_budget(const FinetuneOptions& options, uint64_t model_bytes);

// The stage of options.pipeline that is this process's, or what an estimate is of.
int stage_of(const FinetuneOptions& options);
// The part of the model that such a stage computes: all of it where it is the only one. Error if the model
// cannot be parted into so many.
NetworkPart part_of(const FinetuneOptions& options, const Model& model);
// How the processes stand to each other.
Grid grid_of(const FinetuneOptions& options);
// Of the parameters' arrays what each stage of the pipeline trains: ranges in order.
using OwnedByStage = std::vector<std::vector<Share>>;
OwnedByStage owned_by_stage(const FinetuneOptions& options, const Model& model,
                            const LoraParameters& parameters);

// What adapter, gradients and the optimizer's state take, from the bytes of the four arrays of
// LoraParameters: L-BFGS leaves the moments alone and has vectors of its own. A save copies the adapter.
// summed: floats of the gradient that this process adds up; as many as there are unless it is given.
int64_t trained_bytes(const FinetuneOptions& options, int64_t parameter_bytes,
                      std::optional<int64_t> summed = {});

// Tokens of a row at most: as long as the context or, where nothing fills it up, as the longest sample with
// its EOS.
int64_t row_length(const FinetuneOptions& options, const Dataset& data);

// What else has to fit, in bytes.
struct OtherMemory {
  int64_t there = 0;    // in use already: part of what --memory allows, but not of what the machine has free
  int64_t to_come = 0;  // of adapter and optimizer
};

// Bytes that are free beside so many of a file: available_memory(), or what a test has in its place.
using FreeMemory = std::function<std::optional<uint64_t>(uint64_t file_bytes)>;

// What is kept and what is computed again, for batches of options.n_batch rows: as much as fits the budget
// and what is free, the least where the machine does not tell. Error if even that is beyond the budget, with
// what is needed and the flags that would make it fit.
// Of a model that memory does not hold beside that, weights get what is left (StepPlan::weight_room).
StepPlan make_plan(const FinetuneOptions& options, const Model& model, int64_t row, const OtherMemory& others,
                   Arithmetic arithmetic, int n_threads, const FreeMemory& free = available_memory);

// Whether there is such a plan.
bool has_plan(const FinetuneOptions& options, const Model& model, int64_t row, const OtherMemory& others,
              Arithmetic arithmetic, int n_threads, const FreeMemory& free = available_memory);

}  // namespace lora
