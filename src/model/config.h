// A model's shape and constants, read from its GGUF metadata (keys: ggml docs/gguf.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "gguf/gguf.h"
#include "kernels/rope/rope.h"
#include "model/architecture.h"

namespace lora {

struct ModelConfig {
  const Architecture* architecture = nullptr;
  int64_t n_layer = 0, n_embd = 0, n_ff = 0, n_vocab = 0;
  int64_t n_head = 0, n_head_kv = 0, head_dim = 0;
  int64_t n_ctx_train = 0;  // the context it was trained with
  float rms_norm_eps = 1e-5f;
  RopeParameters rope;

  int64_t n_embd_q() const { return n_head * head_dim; }
  int64_t n_embd_kv() const { return n_head_kv * head_dim; }
};

// Values that replace the model's own.
struct ConfigOverrides {
  std::optional<double> rope_freq_base, rope_freq_scale, rms_norm_eps;
};

// The factor on rotary frequencies that a file's metadata gives: 1 / scaling factor, or 1. `prefix`: the
// architecture's name. Error naming the file and key if it makes no sense.
double read_rope_freq_scale(const Gguf& gguf, const std::string& prefix);

// Error naming the file and key for an unknown architecture (the known ones are listed), a missing
// key, or a value that makes no sense.
ModelConfig read_config(const Gguf& gguf, const ConfigOverrides& overrides = {});

}  // namespace lora
