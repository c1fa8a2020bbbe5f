// Adapters summed into a model's weights, so that any program runs the result without them:
//
//   W' = W + sum_j user_scale_j * scale_j * B_j A_j
//
// A changed tensor is decoded, summed in f32 and encoded again, in its own type, where that is only read in
// the nearest that is written (quant/choice.h), or in another one; all other tensors and the metadata are
// copied. Memory: the adapters, and what convert/rewrite.h says.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "convert/mixes.h"
#include "convert/rewrite.h"
#include "generate/options.h"

namespace lora {

struct MergeOptions {
  std::string base;  // a model of any architecture, or any part of a split one
  std::string out;   // one file
  std::vector<LoraFile> loras;
  std::string checkpoint;    // of lora finetune: its adapter, that of the norms included; "": none
  const Mix* mix = nullptr;  // what to make of changed tensors; nullptr: each keeps its type
  int threads = 0;           // 0: physical_cores()
  std::optional<double> rope_freq_base = {}, rope_freq_scale = {};  // unset: the adapters', else the model's
};

struct MergedTensor {
  std::string_view name;
  std::string shape;
  Type from, to, wanted;  // wanted differs from `to` where rows are no multiple of its block
  RewriteSums sums;
};

struct MergeEvents {
  std::function<void(std::string_view line)> say = [](std::string_view) {};
  std::function<void(const MergedTensor& tensor)> on_changed = [](const MergedTensor&) {};
  // After each tensor.
  std::function<void(uint64_t bytes_done, uint64_t bytes)> on_progress = [](uint64_t, uint64_t) {};
  std::function<bool()> should_stop = [] { return false; };
};

// Measured by the perplexity of merged files: from here on down, a change is weaker than it was.
inline constexpr double kKept = 0.95;

struct MergeResult {
  int64_t n_tensors = 0, n_changed = 0;
  uint64_t bytes_before = 0, bytes_after = 0;  // of the tensors
  RewriteSums sums;                            // over all changed tensors
  int64_t n_fallbacks = 0;                     // changed tensors in another type than wanted
  int64_t n_lossy = 0;                         // changed tensors that keep less than kKept of their change
  // With lossy ones: for --outtype, a type that keeps their change and in which no changed tensor gets fewer
  // bits than it has. None if it changes none of the lossy ones.
  std::optional<Type> advice;
  bool stopped = false;  // by should_stop: nothing was written
};

// An adapter on token_embd.weight changes what tokens become, not the output, also where a model uses one
// matrix for both: then the output gets a copy of the matrix as it was, as output.weight, and the model
// computes what it computes with the adapter beside it. Only in architectures known to take one (arch/
// hf.h): programs refuse a tensor that they do not expect, so elsewhere it is an Error.
//
// Throws Error naming the file, tensor or flag at fault; then nothing is left behind.
MergeResult merge(const MergeOptions& options, const MergeEvents& events);

}  // namespace lora
