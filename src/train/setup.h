// Everything that a run holds, read, checked and made before its first step: what finetune() trains with and
// estimate() looks at.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/norms.h"
#include "base/parallel.h"
#include "data/batch.h"
#include "tokenizer/tokenizer.h"
#include "train/checkpoint.h"
#include "train/held_out.h"
#include "train/resume.h"
#include "train/run.h"

namespace lora {

struct MemoryPart {
  std::string name;
  int64_t bytes;
};

struct Setup {
  // Throws Error naming the file or option at fault; a checkpoint that does not fit is one. Options, files,
  // model, adapter and checkpoint are looked at before the data is read.
  // `say` gets what is to be known about the adapter of --lora-init. more_program_bytes: what a run has taken
  // by now that this process has not.
  explicit Setup(const FinetuneOptions& options, const Say& say = {}, int64_t more_program_bytes = 0);
  Setup(const Setup&) = delete;  // the model refers to the parameters
  Setup& operator=(const Setup&) = delete;

  // Plans the memory of a step, of this process's stage of a pipeline or, in an estimate, of any. Error if
  // there is too little.
  void plan_memory();
  void plan_memory(int stage);

  const Dataset& held_out_data() const { return val_data ? *val_data : data; }
  int64_t n_samples() const { return batch_options.n_samples(data); }
  // Bytes beyond the model's file, and of which parts they consist.
  std::vector<MemoryPart> memory_parts() const;
  int64_t memory_bytes() const;
  // Tokens that an iteration computes on average, from samples across the data.
  double mean_tokens() const;
  // Samples that it takes: more than it has rows where rows are filled.
  double mean_samples() const;

  FinetuneOptions options;

 private:
  double mean_sample_tokens() const;
  int64_t adapter_bytes() const;
  Dataset read_data(const Say& say);  // after all that needs no data
  TextOptions sample_options() const;
  void prepare_parameters(const Say& say);
  std::optional<Checkpoint> shared_beginning();
  void expect_same_everywhere();
  void note_changes();
  void go_on_in_the_same_precision();
  int64_t row() const;
  OtherMemory other_memory() const;
  Settings resumed_settings_;     // of the checkpoint
  std::optional<DateTime> date_;  // of templates that write it
  bool is_dated_ = false;         // whether one does, of what is trained on
  int64_t program_bytes_;  // what is there already: the program at first, then vocabulary and samples too
  int64_t parameter_bytes_ = 0;  // what is there already of the adapter and the optimizer

 public:
  Resume resume;
  bool resumed;
  ThreadPool pool;
  Model model;
  Arithmetic arithmetic;
  Tokenizer tokenizer;
  TrainState state;
  LoraParameters parameters;
  TrainedNorms norms;
  LbfgsHistory lbfgs;
  Settings settings;
  std::string changed;  // a line about what a resumed run changes
  std::string mixed;    // who computes with what, where processes differ in it (--allow-mixed)
  Dataset data;
  std::optional<Dataset> val_data;
  std::vector<int64_t> trained;   // samples that are trained on; empty: all
  std::vector<int64_t> held_out;  // samples of held_out_data() that are evaluated; empty: none
  BatchOptions batch_options;
  int64_t n_iter = 0;
  std::vector<Token> sample_prompt;  // empty: none
  StepPlan plan;
};

// What is said before training, line by line: what was read, what is trained, with what.
std::vector<std::string> describe(const Setup& setup);
// The part of it that is about samples.
std::vector<std::string> describe_samples(const FinetuneOptions& options, const DatasetReport& report,
                                          const Tokenizer& tokenizer);
// How often an epoch reads a text whose every token begins a sample, "" if there is none.
std::string describe_windows(const FinetuneOptions& options, const DatasetReport& report);
// "needs 1.20 GiB beyond the model's 637 MiB, of 12.3 GiB free", of bytes; nullopt: the machine does not
// tell.
std::string memory_sentence(int64_t needed, int64_t model, std::optional<uint64_t> free);
// That of the plan, and its parts.
std::string describe_memory(const Setup& setup);

}  // namespace lora
