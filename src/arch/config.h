// A model's shape and constants, read from its GGUF metadata (keys: ggml docs/gguf.md).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "arch/architecture.h"
#include "gguf/gguf.h"
#include "kernels/rope/rope.h"
#include "nn/delta_net.h"
#include "nn/router.h"

namespace lora {

// What a mixture's layers have in place of one MLP.
struct ExpertsConfig {
  RouterForm router;           // no experts: 0 of them
  int64_t n_ff = 0;            // of one expert
  bool fused_gate_up = false;  // gate and up of each are rows of ffn_gate_up_exps
  int64_t n_ff_shared = 0;     // of the MLP that every token goes through as well; 0: there is none
  int64_t n_layer_dense = 0;   // so many first layers have one MLP,
  int64_t period = 1;          // and behind them all but every n-th
  bool has_choice_bias = false;
};

// Of attention over latents (nn/latent_attention.h); heads' keys are of head_dim.
struct LatentConfig {
  int64_t q_rank = 0;  // 0: queries are made at once
  int64_t kv_rank = 0, value_dim = 0;
  bool is_apart = false;  // the file has attn_k_b and attn_v_b, in place of attn_kv_b
};

// Of layers with a state (Mamba-2).
struct SsmConfig {
  int64_t d_conv = 0, n_inner = 0, n_state = 0, n_head = 0, n_group = 1;
};

struct ModelConfig {
  const Architecture* architecture = nullptr;
  int64_t n_layer = 0;          // that are computed
  int64_t n_layer_skipped = 0;  // behind them in the file, for predicting several tokens at once
  int64_t n_embd = 0, n_ff = 0, n_vocab = 0;
  int64_t n_head = 0, n_head_kv = 0, head_dim = 0;
  // Where layers differ, one for each; what stands above is then the most of any.
  std::vector<int64_t> n_head_of, n_head_kv_of, n_ff_of;
  int64_t head_dim_swa = 0;  // of layers with a window, where theirs differs
  int64_t n_layer_kv = 0;    // layers behind these attend to keys and values of earlier ones; 0: none does
  // To those of this layer: of layers without a window, and of those with one; -1: none of them does.
  std::array<int64_t, 2> shares_kv = {-1, -1};
  int64_t n_embd_per_layer = 0;  // of what layers are told of their tokens again
  int64_t n_ctx_train = 0;       // the context it was trained with
  float norm_eps = 1e-5f;
  bool norms_have_bias = false, output_has_bias = false;  // the file must have them
  bool norms_have_gain = true;                            // else they are 1, and no tensors
  bool parallel_residual = false;   // of families that have both: attention and MLP stand side by side
  bool has_head_norms = false;      // of queries and keys, where the family leaves it open
  bool has_rope = true;             // positions are told by turning heads
  bool has_position_table = false;  // or by rows of a table, added to the embedding: n_ctx_train of them
  RopeParameters rope;
  std::optional<RopeParameters> rope_swa;  // of layers with a window, where theirs differs

  float attention_scale = 0;    // of scores
  float attention_clamp = 0;    // of queries, keys and values; 0: they are not clamped
  float attention_softcap = 0;  // scores become c tanh(score / c); 0: they do not
  int64_t window = 0;           // keys that a token sees in layers with a window, its own included
  std::vector<bool> windowed;   // which layers have it; empty: none
  int64_t n_conv = 0;           // taps of convolutions along the tokens

  // Whether projections are rows of one tensor: of attn_qkv; gate and up of ffn_up.
  bool fused_qkv = false, fused_gate_up = false;

  float embedding_scale = 1, residual_scale = 1;
  float logit_scale = 1;    // logits are multiplied by it,
  float logit_softcap = 0;  // then capped like scores

  ExpertsConfig experts;
  SsmConfig ssm;
  LatentConfig latent;

  DeltaNetForm delta_net;
  std::vector<bool> recurrent;  // which layers have a state in place of attention, of families that say so

  // Queries at position p are multiplied by 1 + scale ln(floor(p / length) + 1).
  float temperature_scale = 0;
  int64_t temperature_length = 0;

  bool needs_rope_freqs = false;         // the file must have rope_freqs.weight
  std::set<std::string> unused_tensors;  // that files may have, of layers that do not read them
  std::vector<std::string> notes;        // what of the file is not computed with: a line each
  std::vector<std::string> kind_keys;    // those of the file's keys that say which blocks have which tensors

  int64_t n_embd_q() const { return n_head * head_dim; }
  int64_t n_embd_kv() const { return n_head_kv * head_dim; }
  // Of layer i; 0: it has no attention, or no MLP.
  int64_t heads(int64_t i) const { return n_head_of.empty() ? n_head : n_head_of[size_t(i)]; }
  int64_t heads_kv(int64_t i) const { return n_head_kv_of.empty() ? n_head_kv : n_head_kv_of[size_t(i)]; }
  int64_t ff(int64_t i) const { return n_ff_of.empty() ? n_ff : n_ff_of[size_t(i)]; }
  int64_t head_dim_of(int64_t i) const { return has_window(i) && head_dim_swa > 0 ? head_dim_swa : head_dim; }
  bool has_window(int64_t layer) const { return !windowed.empty() && windowed[size_t(layer)]; }
};

// Values that replace the model's own.
struct ConfigOverrides {
  std::optional<double> rope_freq_base, rope_freq_scale, norm_eps;
};

// The factor on rotary frequencies that a file's metadata gives: 1 / scaling factor, or 1. `prefix`: the
// architecture's name. Error naming the file and key if it makes no sense.
double read_rope_freq_scale(const Gguf& gguf, const std::string& prefix);

// Whether positions are told by turning heads. Error for an unknown architecture.
bool has_rope(const Gguf& keys);
// A line for each override of rotary numbers, for models that have none.
std::vector<std::string> without_effect(const ConfigOverrides& overrides);

// The key of epsilon that the family's files have, behind its name.
std::string_view norm_eps_key(const Architecture& architecture);

// For a family's own read(): attention.sliding_window, or `standard` without that key, in all layers but
// every period-th; period 0: in all. Where the file has attention.sliding_window_pattern, that says which
// layers, or the period.
void read_window(const Keys& keys, ModelConfig& config, int64_t period, int64_t standard = 0);

// The same: how many experts of what size. Where the file does not say how they are weighted, as given.
enum class Mixture { always, where_the_file_has_one };
void read_experts(const Keys& keys, ModelConfig& config, Gating gating, bool normalize,
                  Mixture mixture = Mixture::always);

// The same: the sizes of Mamba-2's layers, ssm.conv_kernel and others.
void read_mamba2(const Keys& keys, ModelConfig& config);

// Whether the file has biases for the choice of experts, where the family leaves it open.
bool has_choice_bias(const Keys& keys, const ModelConfig& config);

// The same: the last nextn_predict_layers blocks are left out. They predict tokens further on, for programs
// that guess ahead.
void skip_last_layers(const Keys& keys, ModelConfig& config);

// Error naming the file and key for an unknown architecture (the known ones are listed), a missing
// key, or a value that makes no sense.
ModelConfig read_config(const Gguf& gguf, const ConfigOverrides& overrides = {});
// The same of keys alone, without tensors that they could disagree with.
ModelConfig config_of_keys(const Gguf& keys, int64_t n_vocab, const ConfigOverrides& overrides = {});

}  // namespace lora
