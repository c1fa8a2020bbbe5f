// A LoRA adapter in memory, and the three file formats it is read from.
//
// For a weight W (n_out, n_in) the adapted one is W + user_scale * scale * B A, with
// scale = alpha / rank (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gguf/gguf.h"

namespace lora {

// The pair of one base tensor. Layout is the same for every tensor, whatever the file's is.
//
// token_embd.weight is seen as the map from a one-hot token to its embedding: n_in = n_vocab,
// n_out = n_embd, and row v of the table (n_vocab, n_embd) gains scale * B a[:, v]. Its table in the
// base file is thus W^T: all other base tensors have ne = {n_in, n_out}, this one {n_out, n_in}.
struct LoraPair {
  std::string base;  // "blk.0.attn_q.weight"
  int64_t n_in = 0, n_out = 0, rank = 0;
  std::vector<float> a;  // (rank, n_in)
  std::vector<float> b;  // (n_out, rank)
};

struct Adapter {
  std::string architecture;  // general.architecture of the base; "" where the file does not say (ggla)
  float alpha = 0;
  std::vector<LoraPair> pairs;
  // Rotary settings it was trained with, where they differ from the model's.
  std::optional<float> rope_freq_base, rope_freq_scale;
  std::string name, base_model;  // "" if unknown
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

// Reads an adapter GGUF, a file of the 2023 `ggla` format or a PEFT folder (told apart by content) and
// checks it against the model. Errors name the path and the tensor, what was expected and what was found.
Adapter read_adapter(const std::string& path, const Gguf& base);

// Error unless the adapter's architecture is the model's and every pair fits its base tensor. `path` is
// for messages.
void check_adapter(const Adapter& adapter, const std::string& path, const Gguf& base);

// Adapter GGUF, as llama.cpp loads it:
//   general.type "adapter", adapter.type "lora", adapter.lora.alpha (f32), general.architecture,
//   general.name, general.base_model.0.name, lora_cpp.* (f32 rope_freq_base and rope_freq_scale, facts),
//   tensors BASE.lora_a ne = {n_in, rank} and BASE.lora_b ne = {rank, n_out};
//   token_embd.weight has its A flipped: ne = {rank, n_vocab}, and B ne = {rank, n_embd}.
// Tensors are written in F32; every type that decodes is read. The bytes are a function of the
// adapter alone.
Adapter read_adapter_gguf(const std::string& path);
Adapter parse_adapter_gguf(const Gguf& file);
void write_adapter_gguf(const Adapter& adapter, const std::string& path);

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

// What a PEFT folder does not tell about its base model.
struct PeftBase {
  std::string architecture;  // general.architecture
  int64_t n_head = 0, n_head_kv = 0;
};
PeftBase peft_base(const Gguf& base);

// PEFT folder: adapter_config.json and adapter_model.safetensors (format: huggingface/peft, LoraConfig).
// rsLoRA, rank_pattern and alpha_pattern are folded into B; rows of q and k are brought into GGUF's
// order where the architecture's conversion does so. DoRA, modules_to_save, biases and .bin files
// are refused by name.
Adapter read_adapter_peft(const std::string& folder, const PeftBase& base);

}  // namespace lora
