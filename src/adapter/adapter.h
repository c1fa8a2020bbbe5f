// A LoRA adapter in memory, and the file formats it is read from and written to.
//
// For a weight W (n_out, n_in) the adapted one is W + user_scale * scale * B A, with
// scale = alpha / rank (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arch/hf.h"
#include "gguf/gguf.h"

namespace lora {

// The pair of one base tensor. Layout is the same for every tensor, whatever the file's is.
//
// token_embd.weight is seen as the map from a one-hot token to its embedding: n_in = n_vocab,
// n_out = n_embd, and row v of the table (n_vocab, n_embd) gains scale * B a[:, v]. Its table in the
// base file is thus W^T: all other base tensors have ne = {n_in, n_out}, this one {n_out, n_in}.
//
// A tensor that is a stack of matrices (experts) has a pair for each of them, one behind the other.
struct LoraPair {
  std::string base;  // "blk.0.attn_q.weight"
  int64_t n_in = 0, n_out = 0, rank = 0;
  std::vector<float> a;  // (n_slices, rank, n_in)
  std::vector<float> b;  // (n_slices, n_out, rank)
  int64_t n_slices = 1;
};
// The shape in GGUF of one half of a pair.
std::vector<int64_t> lora_ne(int64_t n_cols, int64_t n_rows, int64_t n_slices);

// How a model has attn_kv_b's rows apart (head_parts.h): of each head so many of keys, and of values.
struct HeadParts {
  int64_t n_head = 0, n_keys = 0, n_values = 0;
  int64_t n_rows() const { return n_head * (n_keys + n_values); }
};

struct Adapter {
  std::string architecture;  // general.architecture of the base; "" where the file does not say (ggla)
  float alpha = 0;
  std::vector<LoraPair> pairs;
  std::optional<HeadParts> heads;  // where the model has attn_k_b and attn_v_b, and files of adapters, too
  // Rotary settings it was trained with, where they differ from the model's.
  std::optional<float> rope_freq_base, rope_freq_scale;
  std::string name, base_model;  // "" if unknown; base_model: a name, a repository "OWNER/NAME" or a path
  // Training facts, written as strings under "lora_cpp.NAME". Nothing that differs between two equal runs
  // (time, path, thread count) belongs here.
  std::vector<std::pair<std::string, std::string>> facts;
  // Base names of norm pairs that the file holds: they have no effect in llama.cpp, nor here.
  std::vector<std::string> ignored;

  // alpha / rank; 1 if alpha is 0.
  float scale(const LoraPair& pair) const;
  const LoraPair* find(std::string_view base) const;  // nullptr if absent
};

inline constexpr std::string_view kTokenEmbedding = "token_embd.weight";

// Told apart by content; Error naming the path for anything else.
enum class AdapterFormat { gguf, ggla, folder };
AdapterFormat adapter_format(const std::string& path);

// How an adapter is read, where that is a choice.
struct AdapterReading {
  int n_threads = 0;                               // to compute with; 0: physical_cores()
  std::function<void(std::string_view line)> say;  // what its user should know; may be empty
};

// Reads an adapter GGUF, a file of the 2023 `ggla` format, or a folder of PEFT or MLX, and checks it against
// the model. Errors name the path and the tensor, what was expected and what was found.
Adapter read_adapter(const std::string& path, const Gguf& base, const AdapterReading& reading = {});

// Error unless the adapter's architecture is the model's and every pair fits its base tensor. `path` is
// for messages.
void check_adapter(const Adapter& adapter, const std::string& path, const Gguf& base);

// The sizes of a pair's base tensor.
struct PairShape {
  int64_t n_in = 0, n_out = 0, n_slices = 1;
};
// nullopt if the model has no such matrix; of a stack also where the file has its matrices one by one.
std::optional<PairShape> pair_shape(const Gguf& base, std::string_view tensor);
// Error unless the pair fits. `base_path` is for messages.
void check_pair(const LoraPair& pair, const std::optional<PairShape>& shape, const std::string& path,
                const std::string& base_path);

// Adapter GGUF, as llama.cpp loads it:
//   general.type "adapter", adapter.type "lora", adapter.lora.alpha (f32), general.architecture,
//   general.name, general.base_model.0.name, lora_cpp.* (f32 rope_freq_base and rope_freq_scale, facts),
//   tensors BASE.lora_a ne = {n_in, rank} and BASE.lora_b ne = {rank, n_out}, of stacks of matrices with
//   their number as third dimension;
//   token_embd.weight has its A flipped: ne = {rank, n_vocab}, and B ne = {rank, n_embd}.
// Tensors are written in F32 or F16, finite values only; every type that decodes is read. The bytes are a
// function of the adapter alone.
// Error for an activated LoRA (adapter.alora.*), and for keys adapter.* that are not known.
Adapter read_adapter_gguf(const std::string& path);
// "OWNER/NAME" of https://huggingface.co/OWNER/NAME, as GGUF's keys *repo_url have it; "" of others.
std::string hf_repository(std::string_view url);
Adapter parse_adapter_gguf(const Gguf& file);
void write_adapter_gguf(const Adapter& adapter, const std::string& path, Type type = Type::F32);

// The format of the original CPU LoRA tool (2023):
//   u32 magic 0x67676C61 ("ggla"), u32 version 1, u32 r, u32 alpha, then until the end of the file
//   u32 n_dims, u32 name length, u32 type (F32 or F16), u32 ne[n_dims], name, zeros to a multiple
//   of 32 bytes from the start of the file, data
// Names are BASE.loraA, ne = {rank, n_in}, and BASE.loraB, ne = {rank, n_out}, with W = B A for the
// embedding too. A tensor with n_dims 0 stands for none. The scale there is alpha / r for all
// tensors; where a tensor's rank is another, the difference is folded into B.
Adapter read_adapter_ggla(const std::string& path);
// The same from a file's bytes; `path` is for messages.
Adapter parse_adapter_ggla(std::span<const std::byte> bytes, const std::string& path);

// A weight of the base by its name in GGUF, (n_out, n_in), rows ordered as there. Errors name the model and
// the tensor, also where its numbers are not those that a training starts from (a quantized type).
using BaseWeight = std::function<std::vector<float>(std::string_view tensor)>;

// The error for the latter.
[[noreturn]] void refuse_base_type(const std::string& path, std::string_view tensor, std::string_view type);

// What a folder of PEFT or MLX does not tell about its base model.
struct PeftBase {
  std::string architecture;           // general.architecture
  int64_t n_head = 0, n_head_kv = 0;  // needed where rows are reordered (arch/hf.h)
  bool is_tied = false;               // the embedding's table is the output, too
  int64_t n_vocab = 0;                // rows of the embedding; 0 if unknown
  DeltaHeads delta{};                 // of delta nets, needed like the other heads
  // The sizes of a tensor, needed for stacks of experts' matrices.
  std::function<std::optional<PairShape>(std::string_view tensor)> shape{};
  BaseWeight weight{};  // for LoRAs that start from the base's weights (start.h)
  // What the rows of a module's weight are times Hugging Face's, of n; empty: the same, or the family has
  // none such (arch/hf.h).
  std::function<std::vector<RowFactors>(const HfModule& module, int64_t n)> factors{};
  std::optional<HeadParts> heads{};
};
PeftBase peft_base(const Gguf& base);  // which must outlive it

// What a folder holds that an adapter cannot express.
struct LeftOut {
  std::string why, what;  // "DoRA adapters are not supported", "use_dora"
};

// PEFT folder (huggingface/peft, LoraConfig): adapter_config.json and adapter_model.safetensors or .bin with
//   base_model.model.MODULE.lora_A.weight (rank, n_in), .lora_B.weight (n_out, rank)
//   base_model.model.MODULE.lora_embedding_A (rank, n_vocab), .lora_embedding_B (n_embd, rank)
// MLX folder (ml-explore/mlx-lm): adapter_config.json with lora_parameters, and adapters.safetensors with
//   MODULE.lora_a (n_in, rank), .lora_b (rank, n_out), of the embedding too; what it adds is scale x a b.
// rsLoRA, rank_pattern and alpha_pattern become one alpha, or are folded into B where one does not do; rows
// of q and k are brought into GGUF's order where the architecture's conversion does so. LoRAs that start from
// the base's own weights (PiSSA, OLoRA) become plain ones of twice the rank. DoRA, modules_to_save, biases,
// files of weights beside the adapter's, settings that are not known and the like are refused by name; with
// `left_out` they are added there, and the rest is read. Starts that cannot be computed are always refused.
Adapter read_adapter_peft(const std::string& folder, const PeftBase& base,
                          std::vector<LeftOut>* left_out = nullptr, const AdapterReading& reading = {});
// The same from the bytes of the two files.
Adapter parse_adapter_peft(std::string_view config, std::span<const std::byte> safetensors,
                           const PeftBase& base, std::vector<LeftOut>* left_out = nullptr);

// The two files that write_adapter_peft writes into a folder.
std::vector<std::string> peft_files(const std::string& folder);

// A PEFT folder's two files, into a folder that is there. Both are whole on the disk before either gets its
// name; only a rename that fails after the first, or a crash between the two, can leave one of them new.
// Ranks and scales that differ between tensors become patterns; A and B stay as they are but for the order of
// rows. Tensors that are one module at Hugging Face become one pair, stacks of experts' matrices LoRAs on
// parameters (peft_experts.h); `say` gets a line where ranks add up.
// `n_layer` is the model's, 0 if unknown. Error if the architecture's module names are not known, or a tensor
// has none.
void write_adapter_peft(const Adapter& adapter, const PeftBase& base, int64_t n_layer,
                        const std::string& folder, Type type = Type::F32,
                        const std::function<void(std::string_view line)>& say = nullptr);

}  // namespace lora
