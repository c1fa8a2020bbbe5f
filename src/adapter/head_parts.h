// Pairs of attn_kv_b where a model has that matrix apart (nn/latent_attention.h): of each head the first rows
// turned, a stack attn_k_b of (kv_rank, n_keys), and the others, a stack attn_v_b of (n_values, kv_rank).
//
// With attn_kv_b's pair (A, B) and B_h a head's rows, the two stacks have
//
//   attn_k_b:  A_h = (B_h's keys)^T, B = A^T            attn_v_b:  A, B_h = B_h's values
//
// Files of adapters have the halves without an h once, as llama.cpp's converter writes them, or for each
// head. Everything else knows attn_kv_b alone, as kv_b_proj at Hugging Face.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/pairs.h"

namespace lora {

// Whether a name is attn_kv_b's: "blk.3.attn_kv_b.weight".
bool is_of_heads(std::string_view tensor);

// How the model has them apart; nullopt: it does not, or has no such tensors.
std::optional<HeadParts> head_parts(const Gguf& base);
// The shape of attn_kv_b where its parts are there.
std::optional<PairShape> joined_shape(const Gguf& base, std::string_view tensor);
// Its values (n_out, n_in) from theirs; empty where they are not there. Error naming a type that no training
// starts from.
std::vector<float> joined_weight(const Gguf& base, std::string_view tensor);

// A pair's halves as files have them, shared ones once: attn_k_b's A and B, then attn_v_b's.
std::vector<LoraHalf> cut_halves(const LoraPair& pair, const HeadParts& parts);
// The same as two whole stacks.
std::vector<LoraPair> cut_pairs(const LoraPair& pair, const HeadParts& parts);

// Halves of attn_k_b and attn_v_b become attn_kv_b's, and `parts` says how; others stay. Error naming the
// tensor where one is missing, or heads differ in what attn_kv_b's pair shares.
std::vector<LoraHalf> join_halves(std::vector<LoraHalf> halves, std::optional<HeadParts>& parts,
                                  const std::string& path);

}  // namespace lora
