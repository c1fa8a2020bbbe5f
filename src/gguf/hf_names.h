// The names and shapes that Hugging Face has for the tensors of each architecture, and GGUF's for the same:
// one row per module. Conversion of models and of PEFT adapters both read this table.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lora {

// What a tensor's dimension is of.
enum class Dim {
  none,
  embd,      // hidden_size
  vocab,     // vocab_size
  ff,        // intermediate_size
  two_ff,    // gate and up in one matrix
  heads,     // num_attention_heads x head_dim
  kv_heads,  // num_key_value_heads x head_dim
  qkv,       // q, k and v in one matrix
  head,      // head_dim
};

// Whose head count says how a tensor's rows are reordered: Hugging Face rotates element j of a head with
// j + d/2, ggml's llama rotates 2j with 2j + 1, so row (head, half, j) moves to (head, j, half).
enum class RowOrder { as_is, heads, kv_heads };

struct HfModule {
  std::string_view hf;    // in a layer: behind "layers.N."
  std::string_view gguf;  // in a layer: behind "blk.N."
  Dim n_out = Dim::none;  // rows; none for a vector
  Dim n_in = Dim::none;   // columns, or the length of a vector
  RowOrder order = RowOrder::as_is;
  bool may_have_bias = false;
};

struct HfClass {
  std::string_view name;           // in config.json's "architectures"
  bool window_by_default = false;  // has a sliding_window that use_sliding_window says nothing of
};

// What programs compute for an architecture of GGUF, whatever config.json says; conversion compares the two
// (convert/hf_unheld.h). Where a row says nothing, it is the least.
struct HfComputed {
  const char* activation_key = "hidden_act";
  std::string_view activation = "silu";
  int64_t window_period = 0;  // every n-th layer has no sliding window; 0: no layer has one
  bool own_window = false;    // what becomes of a window is up to the programs
  bool local_theta = false;   // layers with a window have a rotary base of their own
  bool rope_freqs = false;    // rotary scaling of Llama 3, as a tensor
  bool rope_factors = false;  // longrope, as two tensors
  bool partial_rotary = false;
  bool query_scalar = false;  // the class has query_pre_attn_scalar and caps of logits, which must agree:
  bool caps_logits = false;   // both logits are capped; else none
  int64_t large = 0;          // so many layers: attention is scaled by hidden_size / heads, not by head_dim
};

// What a config.json may leave out because the model's class has it as its default. 0 or nothing: it has
// none.
struct HfDefaults {
  int64_t n_vocab = 0, n_head = 0, n_head_kv = 0, n_ctx = 0;
  std::optional<int64_t> sliding_window = std::nullopt;
  double rope_theta = 10000;
  std::optional<double> local_theta = std::nullopt;  // rope_local_base_freq
};

struct HfArchitecture {
  std::string_view name;  // general.architecture
  std::vector<HfClass> classes;
  std::vector<std::span<const HfModule>> layer;
  bool reorders_heads = false;  // RowOrder counts
  int64_t head_dim = 0;         // where config.json does not say; 0: hidden_size over the heads
  bool norms_lack_one = false;  // norms multiply by 1 + weight; GGUF holds the sum
  bool has_all_biases = false;  // llama.cpp takes biases of attn_output and the MLP too, not of q, k, v alone
  bool always_tied = false;     // llama.cpp takes no output.weight: the token embedding is the output
  bool tied_by_default = false;  // where tie_word_embeddings is not there
  HfComputed computed{};
  HfDefaults defaults{};
};

std::span<const HfArchitecture> hf_architectures();
std::span<const HfModule> hf_root_modules();                        // embed_tokens, norm, lm_head
const HfArchitecture* find_hf_architecture(std::string_view name);  // nullptr if unknown

// The matrix of a GGUF tensor's name ("blk.0.attn_q.weight"); nullopt if the architecture has none so named.
struct HfPlace {
  const HfModule* module = nullptr;
  std::optional<uint32_t> layer;  // none at the root
};
std::optional<HfPlace> find_hf_matrix(const HfArchitecture& arch, std::string_view gguf_tensor);

// In GGUF's order of rows, row r of a matrix of `n_head` heads of `head_dim` rows is Hugging Face's row:
inline int64_t hf_row(int64_t r, int64_t head_dim) {
  const int64_t in_head = r % head_dim;
  return r - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

}  // namespace lora
