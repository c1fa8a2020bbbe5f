// Rotary position embedding (Su et al., "RoFormer", 2021): pair i of a head's first n_rot
// components is turned by the angle position * theta_i.
//
//   a' = a cos - b sin,   b' = a sin + b cos
//   theta_i = freq_base^(-2 i / n_rot) / freq_factors_i * freq_scale
//
// The table holds what llama.cpp computes for the same metadata, with angles in double:
// linear scaling (freq_scale = 1 / factor), per-pair divisors (the tensor rope_freqs.weight),
// and YaRN (Peng et al., "YaRN", 2023), which keeps fast pairs unscaled, scales slow ones and
// enlarges cos and sin. Other YaRN betas than 32 and 1 are honoured as in Hugging Face's models;
// llama.cpp reads them for some architectures only, and not for `llama`.
#pragma once

#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "base/parallel.h"

namespace lora {

// Which components form pair i: (2i, 2i + 1), ggml's NORM (Llama), or (i, i + n_rot / 2),
// ggml's NEOX (Qwen, Gemma, Phi).
enum class RopeStyle { interleaved, halves };

struct RopeParameters {
  int64_t n_rot = 0;  // rotated components of a head, even
  double freq_base = 10000;
  double freq_scale = 1;
  std::vector<float> freq_factors = {};  // (n_rot / 2), or empty: all 1
  // In place of freq_factors for a table of more than n_ctx_orig positions (LongRoPE: Ding et al., 2024).
  std::vector<float> long_freq_factors = {};
  // Multiplies cos and sin, with and without YaRN (long-context Phi-3 files use it without).
  double yarn_attn_factor = 1;
  // YaRN. With it cos and sin are also multiplied by 1 + 0.1 ln(1 / freq_scale).
  bool yarn = false;
  double yarn_ext_factor = 1;  // share of the unscaled angle where the ramp is full
  // With m other than 0, cos and sin are divided by 1 + 0.1 m ln(1 / freq_scale) (DeepSeek's mscale_all_dim).
  double yarn_log_multiplier = 0;
  double yarn_beta_fast = 32, yarn_beta_slow = 1;  // turns over n_ctx_orig at which the ramp begins, ends
  bool yarn_truncate = true;                       // whole pairs are where the ramp begins and ends
  int64_t n_ctx_orig = 0;                          // context the model was first trained with
};

struct RopeTable {
  int64_t n_rot = 0, n_positions = 0;
  Buffer<float> cos, sin;  // (n_positions, n_rot / 2)
};

// Throws Error for an odd or negative n_rot, freq_factors of another size or with a value <= 0,
// a freq_base or freq_scale <= 0, or YaRN without n_ctx_orig.
RopeTable make_rope_table(const RopeParameters& parameters, int64_t n_positions);

// Turns every head of x in place; components from n_rot on stay. `inverse` turns back, which is
// also the backward pass of the forward turn (the transposed matrix; with YaRN's enlarged cos and
// sin it is the transpose still, though no longer the inverse).
// n_rot <= head_dim; positions lie in [0, n_positions): the caller checks them.
void rope_apply(float* x,                  // (n_tokens, n_head, head_dim)
                const int32_t* positions,  // (n_tokens)
                int64_t n_tokens, int64_t n_head, int64_t head_dim, const RopeTable& table, RopeStyle style,
                bool inverse, ThreadPool& pool);

}  // namespace lora
