// What a run would take on this machine: its memory from the plan that the run itself would use, its time
// from a few layers, of each kind at least one, that are computed here and now.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "train/setup.h"

namespace lora {

// Files of one kind that a run leaves.
struct OutputFiles {
  std::string kind;  // "checkpoints"
  int64_t n = 0;
  int64_t bytes = 0;  // of each, about
};

// Of a model that memory does not hold: what is read of it again and again, beside the computing.
struct WeightReading {
  int64_t held_bytes = 0, weight_bytes = 0;
  double iteration_bytes = 0;  // that an iteration reads
  std::optional<double> rate;  // bytes per second of this disk; nullopt: it does not tell
  double batch_tokens = 0;     // from so many on, reading adds at most a twentieth
};

// What a stage of a pipeline takes.
struct StageMemory {
  LayerRange layers;
  int64_t memory_bytes = 0, weight_bytes = 0;
};

struct Estimate {
  std::string precision;                 // "bf16": what --precision comes to
  std::vector<StageMemory> stages;       // of a pipeline; what follows is of the one that takes most
  std::vector<MemoryPart> memory;        // beyond the model's file
  int64_t memory_bytes = 0;              // their sum
  int64_t model_bytes = 0;               // mapped
  std::optional<uint64_t> free_bytes;    // nullopt: the machine does not tell
  std::vector<OutputFiles> files;        // that the iterations to come leave on disk
  int64_t disk_bytes = 0;                // of all of them
  std::optional<uint64_t> free_disk;     // bytes where they are written; nullopt: the system does not tell
  std::optional<WeightReading> reading;  // nullopt: memory holds the model
  int64_t n_iter = 0;                    // iterations that are left to do
  double iteration_s = 0;                // of one, on average
  int64_t n_evaluations = 0;
  double evaluation_s = 0;  // of one
  double total_s = 0;
  bool at_least = false;  // L-BFGS: one trial per line search was assumed
};

// A number for each layer, from 0: the same where layers compute alike, in matrices of the same shapes, and
// the backward pass, which ends above `n_below` layers, goes through both or neither.
std::vector<int64_t> kinds_of_layers(const Model& model, int64_t n_below);

// The one that takes most, weights and all; the first of several. At least one.
size_t largest_stage(std::span<const StageMemory> stages);

// Seconds of batches through the stages of a pipeline, each of which takes its own time for one: the first
// batch meets all of them, each other one follows by what the slowest takes.
double pipeline_seconds(std::span<const double> stages, double n_batches);

// Error naming the file or option at fault, or if the run would not fit into memory.
Estimate estimate(const FinetuneOptions& options, const std::function<void(std::string_view line)>& say);

}  // namespace lora
