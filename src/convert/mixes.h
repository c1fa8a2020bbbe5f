// The types that `lora quantize` offers. A name like Q4_K_M is a mix: most tensors get its base type, those
// that suffer most from few bits get more. Which, is llama.cpp's choice, so that equal names mean equal
// files (but for Falcon of 2023, of which llama.cpp makes exceptions). Which tensors no mix touches:
// convert/kept.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "convert/tensor_types.h"
#include "gguf/gguf.h"
#include "quant/types.h"

namespace lora {

struct Mix;

std::vector<std::string_view> mix_names();
// By its name in any case; nullptr if unknown.
const Mix* find_mix(std::string_view name);
int64_t file_type(const Mix& mix);  // as general.file_type numbers it
Type base_type(const Mix& mix);

struct MixOptions {
  bool pure = false;                 // every tensor in the base type
  bool leave_output_tensor = false;  // output.weight stays as it is
  // Of output.weight, or where there is none, of the embedding's table, which does its work.
  std::optional<Type> output_tensor_type = {};
  std::optional<Type> token_embedding_type = {};
  TensorTypes tensor_types = {};  // of tensors whose names match, but for those that the two above are of
  bool has_importance = false;
};

// What becomes of one tensor.
struct TensorChoice {
  Type type;    // what it is stored as
  Type wanted;  // what it would be if its row length were a multiple of that type's block
};

// One for each tensor of the model, in its order.
std::vector<TensorChoice> choose_types(const Gguf& model, const Mix& mix, const MixOptions& options);

// A line for each of the options that find nothing in the model to act on.
std::vector<std::string> options_without_effect(const Gguf& model, const Mix& mix, const MixOptions& options);

}  // namespace lora
