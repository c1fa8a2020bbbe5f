// What decides a text generation or an evaluation, as plain values; defaults are the command line's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/date.h"
#include "base/precision.h"
#include "cluster/cluster.h"
#include "quant/types.h"

namespace lora {

// An adapter to apply at run time, beside others: W + scale x alpha / rank x B A.
struct LoraFile {
  std::string path;  // adapter GGUF, ggla file, folder of PEFT or MLX
  double scale = 1;
};

// The model, its adapters and how it is run; common to generation and evaluation.
struct ModelOptions {
  std::string model;
  std::vector<LoraFile> loras;  // in the order given
  int threads = 0;              // 0: physical_cores()
  Precision precision = Precision::automatic;
  Type cache_type = Type::F32;                            // of keys and values in generation
  std::optional<double> rope_freq_base, rope_freq_scale;  // unset: the adapter's, else the model's
};

// Filters and temperature, applied in this order; see generate/sampler.h for each.
struct SamplerOptions {
  double repeat_penalty = 1.0;  // 1: off
  int64_t top_k = 40;           // <= 0: off
  double top_p = 0.95;          // 1: off
  double min_p = 0.05;          // 0: off
  double temp = 0.8;            // <= 0: greedy
};

// The longest context taken from a model's metadata when none is asked for: its KV cache still fits small
// machines.
inline constexpr int64_t kMaxDefaultContext = 4096;

struct GenerateOptions : ModelOptions {
  std::string prompt;
  int64_t n_ctx = 0;       // tokens; 0: the model's training context, at most kMaxDefaultContext
  int64_t n_predict = -1;  // tokens; -1: until the model ends or the context is full
  SamplerOptions sampler;
  int64_t seed = -1;              // -1: random
  std::vector<std::string> stop;  // generation ends before the first of these strings
  bool ignore_eos = false;        // end tokens are never sampled
  bool parse_special = true;      // control tokens spelled in the prompt are read as such
  bool echo = true;               // the prompt goes to on_text first
  // Of a conversation.
  std::string chat_template = "auto";   // auto: the model's own; a built-in one's name, a file
  std::string system;                   // its system message, "" if it has none
  std::optional<bool> enable_thinking;  // unset: as the template has it
  std::optional<DateTime> date;         // of templates that write it; unset: today
};

struct EvalOptions : ModelOptions {
  std::string text;
  int64_t n_ctx = 512;       // tokens of a window
  Cluster cluster = {};      // the processes that evaluate it together
  bool allow_mixed = false;  // of kernel sets
  int pipeline = 1;          // so many of them in a row compute the model, each some of its layers
};

}  // namespace lora
