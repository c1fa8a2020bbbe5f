// What Hugging Face has of a family: its classes in config.json, the names and shapes of its modules, what
// config.json may leave out, and how tensors become GGUF's. Each family's file (arch/NAME.cc) holds its own
// beside its block; conversion of models and of PEFT adapters both read it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lora {

struct Architecture;
struct HfConfig;
class GgufWriter;

// Up to n values, in constants.
template <class T, size_t n>
class HfList {
 public:
  constexpr HfList() = default;
  constexpr HfList(std::initializer_list<T> values) {
    for (const T& value : values) items_[size_++] = value;
  }
  constexpr const T* begin() const { return items_; }
  constexpr const T* end() const { return items_ + size_; }
  constexpr bool empty() const { return size_ == 0; }

 private:
  T items_[n]{};
  size_t size_ = 0;
};

// What a tensor's dimension is of.
enum class Dim {
  none,
  one,
  embd,             // hidden_size
  two_embd,         // twice that
  vocab,            // vocab_size
  ff,               // intermediate_size
  two_ff,           // gate and up in one matrix
  heads,            // num_attention_heads x head_dim
  kv_heads,         // num_key_value_heads x head_dim
  qkv,              // q, k and v in one matrix
  head,             // head_dim
  n_head,           // num_attention_heads
  ctx,              // max_position_embeddings
  experts,          // how many a layer has
  expert_ff,        // intermediate_size of one of them
  shared_ff,        // and of what every token goes through beside them
  two_expert_ff,    // gate and up of one in one matrix
  embd_per_layer,   // hidden_size_per_layer_input
  embd_per_layers,  // of all layers
  three_embd,       // three times hidden_size
  conv,             // taps of a convolution along the tokens
  two_heads,        // a query and a gate of each head
  // Of a delta net: value heads, twice as many, length of one, all of their lengths, and with queries and
  // keys.
  delta_heads,
  two_delta_heads,
  delta_value,
  delta_values,
  delta_qkv,
  // Of Mamba-2: rows of its input, channels of its convolution, heads, groups of columns and their width, and
  // all columns.
  ssm_in,
  ssm_conv,
  ssm_heads,
  ssm_groups,
  ssm_group,
  ssm_inner,
  // Of attention over latents: q_lora_rank, kv_lora_rank, that and qk_rope_head_dim, qk_nope_head_dim,
  // v_head_dim, num_attention_heads x v_head_dim, and x (qk_nope_head_dim + v_head_dim).
  q_rank,
  kv_rank,
  latent,
  nope,
  value_head,
  value_heads,
  keys_and_values,
};

// Whose head count says how a tensor's rows are reordered: Hugging Face rotates element j of a head with
// j + d/2, ggml's llama rotates 2j with 2j + 1, so row (head, half, j) moves to (head, j, half).
enum class RowOrder { as_is, heads, kv_heads };

// Which rows of a tensor that holds several matrices: q, k and v, or gate and up.
enum class Rows { all, q, k, v, gate, up };
constexpr bool is_half(Rows rows) {
  return rows == Rows::gate || rows == Rows::up;
}

// What of a delta net's tensor lies in another order at Hugging Face, where the value heads of a key head are
// neighbours: GGUF has the first of every key head, then the second.
enum class DeltaOrder {
  as_is,
  qkv,      // rows of q and k, which stay, then of value heads
  values,   // rows of value heads
  heads,    // one row for each value head
  columns,  // columns of value heads
  // Value heads stay, but each key head's q, k, v and z lie side by side: of these, q, k and v, or z.
  packed_qkv,
  packed_z,
};
constexpr bool is_packed(DeltaOrder order) {
  return order == DeltaOrder::packed_qkv || order == DeltaOrder::packed_z;
}

// How Hugging Face has the matrices of a layer's experts, which GGUF stacks in one tensor.
enum class Stack {
  none,     // it is one matrix
  each,     // in a module each, whose number stands in the name for #
  whole,    // in a tensor (n_expert, n_out, n_in)
  columns,  // in a tensor (n_expert, n_in, n_out), to be multiplied from the left
  // Not experts but heads: of each the first rows of one matrix, turned, and the others.
  head_keys,
  head_values,
  mxfp4,  // in blocks of 32 values of a row: NAME_blocks (n_expert, n_out, n_in / 32, 16) and NAME_scales
};

// What all values of a row of GGUF's tensor are Hugging Face's times.
using RowFactors = std::array<float, 2>;

struct HfModule {
  std::string_view hf;    // in a layer: behind "layers.N."
  std::string_view gguf;  // in a layer: behind "blk.N."
  Dim n_out = Dim::none;  // rows; none for a vector
  Dim n_in = Dim::none;   // columns, or the length of a vector
  RowOrder order = RowOrder::as_is;
  bool may_have_bias = false;
  Rows of_hf = Rows::all;    // the rows of Hugging Face's tensor that GGUF has as this one
  Rows of_gguf = Rows::all;  // else: other models of the family have this module, for these rows of GGUF's
  bool transposed = false;   // HF has a column for each row of GGUF's
  bool grouped = false;      // HF's rows of q, k, v: for each k, v head its q heads, then k, then v
  Stack stack = Stack::none;
  bool in_turn = false;            // HF's rows of gate and up alternate
  const char* bias_key = nullptr;  // what config.json calls the switch of its bias, where it has one
  bool may_be_absent = false;
  bool (*may_be_absent_in)(const HfConfig& config, int64_t layer) = nullptr;  // where that depends
  bool is_router = false;  // a parameter of a module that PEFT adapts no more, where it is one
  bool is_conv = false;    // of each channel by itself: HF has (n_out, 1, n_in); no adapter goes there
  bool is_flat = false;    // HF has a vector of n_out * n_in; no adapter goes there
  DeltaOrder delta = DeltaOrder::as_is;
  bool negated_exp = false;  // GGUF has -exp of it
  bool of_adapters = false;  // what they know tensors of GGUF as, which weights become by other modules
  bool is_whole = false;     // a norm's gains, which lack no one where others do
  // What follows the names, in Hugging Face's tensor and in GGUF's.
  std::string_view hf_end = ".weight", gguf_end = ".weight";

  // Whether it is a matrix that tokens are multiplied with.
  constexpr bool is_linear() const { return n_out != Dim::none && n_in != Dim::none && !is_conv && !is_flat; }
};

constexpr bool is_of_heads(Stack stack) {
  return stack == Stack::head_keys || stack == Stack::head_values;
}

// What the class has where config.json lacks a key, as config.json would say it. null is no lack.
struct HfDefault {
  const char* key;
  std::string_view json;
};

struct HfClass {
  std::string_view name;             // in config.json's "architectures"
  bool window_by_default = false;    // has a sliding_window that use_sliding_window says nothing of
  std::string_view model_type = {};  // of the language model; empty: any
  std::string_view why_not = {};     // why such a model is not converted
  bool has_experts = false, may_lack_experts = false;
  std::span<const HfDefault> absent{};  // before those of the family
};

// What programs compute for an architecture of GGUF, whatever config.json says; conversion compares the two
// (convert/hf_unheld.h). Where a row says nothing, it is the least.
struct HfComputed {
  const char* activation_key = "hidden_act";
  std::string_view activation = "silu";
  int64_t window_period = 0;     // every n-th layer has no sliding window; 0: no layer has one
  int64_t no_rope_period = 0;    // every n-th layer is not told positions
  bool own_window = false;       // what becomes of a window is up to the programs
  std::string_view recurrent{};  // what layer_types calls layers without attention, of HfFamily::recurrent
  std::string_view attention = "full_attention";  // and those with
  bool steps = false;                             // of any size, of Mamba-2
  bool local_theta = false;                       // layers with a window have a rotary base of their own
  bool rope_freqs = false;                        // rotary scaling of Llama 3, as a tensor
  bool rope_factors = false;                      // longrope, as two tensors
  bool partial_rotary = false;
  bool query_scalar = false;  // the class has query_pre_attn_scalar and caps of logits, which must agree:
  bool caps_logits = false;   // both logits are capped; else none
  int64_t large = 0;          // so many layers: attention is scaled by hidden_size / heads, not by head_dim
};

// Sizes that a config.json may leave out because the model's class has them as its defaults; others stand in
// HfFamily::absent. 0 or nothing: it has none.
struct HfDefaults {
  int64_t n_vocab = 0, n_head = 0, n_head_kv = 0, n_ctx = 0;
  std::optional<int64_t> sliding_window = std::nullopt;
  double rope_theta = 10000;
  std::optional<double> local_theta = std::nullopt;  // rope_local_base_freq
  double rotary_part = 1;                            // partial_rotary_factor
  double norm_eps = 1e-6;
};

// What config.json calls the sizes.
struct HfSizes {
  const char *n_layer = "num_hidden_layers", *n_embd = "hidden_size", *n_ff = "intermediate_size",
             *n_head = "num_attention_heads", *n_ctx = "max_position_embeddings";
};

// A number of config.json that is a key of GGUF.
struct HfNumber {
  const char* hf;
  std::string_view gguf;                           // behind "NAME."
  std::optional<double> otherwise = std::nullopt;  // what the class has by default; none: no key
};

// A count of config.json that is a key of GGUF, where it is there.
struct HfCount {
  const char* hf;
  std::string_view gguf;  // behind "NAME."
};

// A switch of config.json (or a count, which is on above 0) and the position that cannot be converted.
struct HfRefused {
  const char* key;
  bool value;
  std::string_view why;
};

namespace hf {
// The embedding, the norm behind the layers, and the output.
inline constexpr HfModule kRoot[] = {
    {"embed_tokens", "token_embd", Dim::vocab, Dim::embd},
    {"norm", "output_norm", Dim::none, Dim::embd},
    {"lm_head", "output", Dim::vocab, Dim::embd},
};
}  // namespace hf

struct HfFamily {
  HfList<HfClass, 9> classes{};
  HfList<std::span<const HfModule>, 5> layer{};
  // Of layers with attention, and of those that have a state in its place, in families with both.
  HfList<std::span<const HfModule>, 4> attention{};
  HfList<std::span<const HfModule>, 4> recurrent{};
  // Of layers without and with experts, and of those behind the last that predict further tokens. Where two
  // modules are for one tensor of GGUF, the weights have either.
  HfList<std::span<const HfModule>, 4> dense{};
  HfList<std::span<const HfModule>, 4> experts{};
  std::span<const HfModule> ahead{};
  std::span<const HfModule> root = hf::kRoot;              // embedding, the norm behind the layers, output
  std::string_view prefix = "model.", layers = "layers.";  // of modules' names
  // Of layers that predict further tokens, which are numbered from 0, where they do not follow the others;
  // the modules of `ahead` stand there without a number.
  std::string_view ahead_prefix = "";
  std::string_view left_out = "";  // what names of tensors begin with that llama.cpp's converter leaves out
  const char* norm_eps = "rms_norm_eps";
  bool reorders_heads = false;   // RowOrder counts
  bool has_rope = true;          // positions are told by turning heads
  bool has_attention = true;     // and MLPs
  int64_t head_dim = 0;          // where config.json does not say; 0: hidden_size over the heads
  bool norms_lack_one = false;   // norms multiply by 1 + weight; GGUF holds the sum
  bool always_tied = false;      // llama.cpp takes no output.weight: the token embedding is the output
  bool tied_by_default = false;  // where tie_word_embeddings is not there
  bool no_space_prefix = false;  // its tokenizer puts no space before a text, whatever tokenizer.model says
  // What tokenizer.ggml.model calls its BPE over characters, where that goes by the list of merges, not by
  // scores.
  std::string_view merges_as = "";
  // Tokens that are no control tokens although its files say so: a program that reads answers must see them.
  HfList<std::string_view, 7> seen_tokens{};
  HfSizes sizes{};
  HfComputed computed{};
  HfDefaults defaults{};
  std::span<const HfDefault> absent{};  // of all classes
  HfList<HfNumber, 4> numbers{};
  HfList<HfCount, 6> counts{};
  HfList<HfRefused, 4> refused{};
  // rope.dimension_count, attention.sliding_window_pattern, rope.scaling.yarn_log_multiplier
  bool writes_n_rot = false, writes_pattern = false, writes_log_multiplier = false;
  bool writes_kv_by_layer = false;  // attention.head_count_kv of each layer, 0 where there is no attention
  // Sizes that config.json has under other names, or by other rules.
  void (*read)(HfConfig& config) = nullptr;
  void (*write_keys)(GgufWriter& writer, const HfConfig& config) = nullptr;  // beside those above
  // What the class multiplies outputs by and GGUF has in the rows of weights: of each row, or one for all;
  // empty: nothing. Of the keys factor_keys in config.json, which GGUF has by the same names behind
  // "NAME.hf.".
  std::vector<RowFactors> (*row_factors)(const HfConfig& config, const HfModule& module) = nullptr;
  HfList<const char*, 9> factor_keys{};
};

// Calls visit(HfModule) for all that a family's layers may have.
template <class Visit>
void for_each_layer_module(const HfFamily& family, const Visit& visit) {
  const auto each = [&](const auto& lists) {
    for (const std::span<const HfModule> modules : lists) {
      for (const HfModule& module : modules) visit(module);
    }
  };
  each(family.layer);
  each(family.attention);
  each(family.recurrent);
  each(family.dense);
  each(family.experts);
}

// Where config.json has a size of Mamba-2's layers, and what the class has otherwise.
struct HfSize {
  const char* key;
  int64_t otherwise;
};
struct HfMamba2Keys {
  HfSize n_conv, n_state, n_head, n_group, head_dim;  // head_dim 0: not known yet
  bool norm_may_differ = false;                       // the class norms all groups together
};
namespace hf {
// Into HfConfig::n_conv and ssm; n_inner is n_head x head_dim. Error naming the key that makes no sense.
void read_mamba2(HfConfig& config, const HfMamba2Keys& keys);
// Behind it, of classes that know n_inner by another key: error where heads do not divide it, or are others.
void finish_mamba2(HfConfig& config, const HfMamba2Keys& keys, const char* key, int64_t n_inner);
// ssm.conv_kernel and others.
void write_mamba2_keys(GgufWriter& writer, const HfConfig& config);
}  // namespace hf

// A module's name with the number of an expert for its #.
std::string hf_numbered(std::string_view name, int64_t expert);

// A family whose modules are known; nullptr for any other name.
const Architecture* find_hf_family(std::string_view architecture);

// The matrix of a GGUF tensor's name ("blk.0.attn_q.weight"); nullopt if the family has none so named.
struct HfPlace {
  const HfModule* module = nullptr;
  std::optional<uint32_t> layer;  // none at the root
};
std::optional<HfPlace> find_hf_matrix(const HfFamily& family, std::string_view gguf_tensor);

// Of a delta net: key and value heads, and their lengths.
struct DeltaHeads {
  int64_t n_k = 0, n_v = 0, dim_k = 0, dim_v = 0;
  // Whether lists of that many rows may be made.
  bool make_sense() const {
    constexpr int64_t kMost = 1 << 20;
    return n_k >= 1 && n_v % n_k == 0 && std::max({n_k, n_v, dim_k, dim_v}) <= kMost &&
           std::min({n_v, dim_k, dim_v}) >= 1 && n_k * dim_k <= kMost && n_v * dim_v <= kMost;
  }
  int64_t n_values() const { return n_v * dim_v; }
  int64_t n_qkv() const { return 2 * n_k * dim_k + n_values(); }
};

struct HeadCounts {
  int64_t n_head = 0, n_head_kv = 0, head_dim = 0;
  DeltaHeads delta{};
};
// Rows of the tensor of Hugging Face that holds a packed one.
inline int64_t packed_rows(const DeltaHeads& delta) {
  return delta.n_qkv() + delta.n_values();
}
// The row (or column) of Hugging Face's tensor that each of GGUF's is; empty: the same.
std::vector<int64_t> delta_rows(DeltaOrder order, const DeltaHeads& delta);
std::vector<int64_t> delta_columns(DeltaOrder order, const DeltaHeads& delta);
// HfFamily::row_factors of each of n rows; empty where all are 1.
std::vector<RowFactors> factors_of_rows(const HfConfig& config, const HfModule& module, int64_t n);
// The row of Hugging Face's tensor that each row of GGUF's is; empty: the same.
std::vector<int64_t> hf_rows(const HfFamily& family, const HfModule& module, const HeadCounts& counts);
// The same of gate or up, of n rows, which are halves of Hugging Face's.
std::vector<int64_t> hf_half(const HfModule& module, int64_t n);
// Whether hf_rows depends on how many heads there are.
bool needs_head_counts(const HfFamily& family, const HfModule& module);

// In GGUF's order of rows, row r of a matrix of heads of `head_dim` rows is Hugging Face's row:
inline int64_t hf_row(int64_t r, int64_t head_dim) {
  const int64_t in_head = r % head_dim;
  return r - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

// What modules' names begin with: language models, those of models that also see, bare ones.
namespace hf {
inline constexpr std::string_view kPrefixes[] = {"backbone.",
                                                 "model.language_model.",
                                                 "model.text_model.",
                                                 "language_model.model.",
                                                 "language_model.",
                                                 "transformer.",
                                                 "gpt_neox.",
                                                 "model.",
                                                 ""};
}  // namespace hf

}  // namespace lora
