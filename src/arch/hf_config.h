// A config.json of Hugging Face as conversion understands it (convert/hf_config.h reads it).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "arch/architecture.h"
#include "arch/hf.h"

namespace lora {

// Rotary embedding, from rope_theta and rope_scaling or the newer rope_parameters.
struct HfRope {
  double theta = 10000;
  std::optional<double> local_theta;  // of layers with a sliding window (Gemma 3)
  std::string type = "default";       // linear, dynamic, yarn, llama3, longrope, proportional
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;              // llama3
  std::optional<int64_t> n_ctx_orig;                             // original_max_position_embeddings
  std::optional<double> beta_fast, beta_slow, attention_factor;  // yarn
  std::optional<double> log_multiplier;                          // mscale_all_dim
  std::optional<double> rotary_part;                             // partial_rotary_factor
  bool is_stated = false;                                        // config.json has any of these
  std::vector<double> short_factor, long_factor;                 // longrope, of each pair of elements
  bool operator==(const HfRope&) const = default;
};

// Of Mamba-2's layers.
struct HfSsm {
  int64_t n_inner = 0, n_state = 0, n_head = 0, n_group = 1;
};

struct HfConfig {
  std::string path;
  const Architecture* architecture = nullptr;
  const HfClass* hf_class = nullptr;  // "LlamaForCausalLM"
  int64_t n_layer = 0, n_embd = 0, n_ff = 0, n_vocab = 0, n_ctx = 0;
  int64_t n_head = 0, n_head_kv = 0, head_dim = 0;
  bool states_head_dim = false;
  std::vector<std::string> layer_types;
  // Of families whose layers differ, set by HfFamily::read; for each layer where they are not empty.
  std::vector<int64_t> head_dim_of, n_head_kv_of, n_ff_of;
  std::vector<bool> windowed;
  int64_t head_dim_swa = 0;                  // of layers with a window
  int64_t n_layer_kv = 0;                    // layers that have keys and values of their own
  int64_t n_embd_per_layer = 0;              // hidden_size_per_layer_input
  int64_t n_expert = 0, n_expert_used = 0;   // of a layer, 0: it is no mixture
  int64_t n_expert_ff = 0, n_shared_ff = 0;  // intermediate_size of one, and of what all tokens go through
  int64_t n_dense = 0;                       // so many first layers have no experts
  int64_t n_ahead = 0;                       // layers behind the last that predict further tokens
  // Of attention over latents: q_lora_rank (0: none), kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim and
  // v_head_dim.
  int64_t n_q_rank = 0, n_kv_rank = 0, n_nope = 0, n_rope = 0, n_value = 0;
  DeltaHeads delta;    // of delta nets
  int64_t n_conv = 0;  // taps of its convolutions along the tokens
  // Which layers have attention, in families that do not have it everywhere; empty: all.
  std::vector<bool> attends;
  // Which layers are an MLP, in families whose layers are one thing each; empty: it is another family.
  std::vector<bool> is_mlp;
  HfSsm ssm;
  double norm_eps = 1e-6;
  double rotary_part = 1;    // partial_rotary_factor
  std::optional<bool> tied;  // tie_word_embeddings
  std::optional<bool> attention_bias, mlp_bias;
  std::optional<int64_t> sliding_window;
  std::optional<double> attn_softcap, final_softcap;
  HfRope rope;
  // All numbers and switches (1, 0) of the language model by their keys; those of rope_parameters or
  // rope_scaling as "rope.KEY".
  std::map<std::string, double, std::less<>> numbers;
  std::map<std::string, std::vector<int64_t>, std::less<>> lists;        // the same of lists of whole numbers
  std::map<std::string, std::vector<double>, std::less<>> number_lists;  // of any numbers,
  std::map<std::string, std::vector<std::string>, std::less<>> text_lists;  // and of texts
  std::map<std::string, std::string, std::less<>> texts;
  std::map<std::string, std::string, std::less<>>
      no_numbers;                        // what is none of numbers, as config.json has it
  std::optional<int64_t> bos, eos, pad;  // token ids
  int64_t fp8_block[2] = {128, 128};     // rows, columns of a block of FP8 values that share a scale
  std::vector<std::string> notes;        // what GGUF cannot hold, or is left to the weights: a line each
  bool is_part = false;                  // of a model that also sees: its text_config
  std::string unreadable_quantization;   // what quantized the weights, where that cannot be read

  // layer: of which, where layers differ.
  int64_t size(Dim dim, std::optional<int64_t> layer = {}) const;
  bool reads_mxfp4() const;
  // Those that predict further tokens have it.
  bool has_attention(int64_t layer) const {
    return layer >= int64_t(attends.size()) || attends[size_t(layer)];
  }
  bool has_mlp(int64_t layer) const { return is_mlp.empty() || is_mlp[size_t(layer)]; }
  bool has_state(int64_t layer) const { return !has_attention(layer) && (is_mlp.empty() || !has_mlp(layer)); }
  bool has_experts(int64_t layer) const { return n_expert > 0 && layer >= n_dense; }
  HeadCounts head_counts() const { return {n_head, n_head_kv, head_dim, delta}; }
  // Error if it is there and no number.
  std::optional<double> number(std::string_view key) const;
  bool flag(std::string_view key, bool otherwise) const { return number(key).value_or(otherwise) != 0; }
  // The same of a text, "" where it is not there, and of lists.
  std::string text(std::string_view key) const;
  const std::vector<int64_t>* whole_numbers(std::string_view key) const;
  const std::vector<std::string>* words(std::string_view key) const;
  // A number that is a size, `least` or more. Error if it is none, or missing where nothing stands in for it.
  int64_t count(std::string_view key) const;
  int64_t count(std::string_view key, int64_t otherwise, int64_t least = 1) const;
  // Whether the token embedding is the output, too. Some classes tie the two unless told otherwise, others do
  // where no weight of the output is there.
  bool is_tied(bool has_output) const {
    return tied.value_or(architecture->hf->tied_by_default || !has_output);
  }
  int64_t n_rot() const { return int64_t(double(head_dim) * rotary_part); }
};

// rope.scaling.original_context_length, up to which LongRoPE turns by its short factors, and attn_factor.
void write_longrope_keys(GgufWriter& writer, const HfConfig& config);

}  // namespace lora
