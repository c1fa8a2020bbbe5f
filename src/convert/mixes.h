// The types that `lora quantize` offers. A name like Q4_K_M is a mix: most tensors get its base type, those
// that suffer most from few bits get more. Which, is llama.cpp's choice, so that equal names mean equal
// files.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

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
  std::optional<Type> output_tensor_type = {}, token_embedding_type = {};
  bool has_importance = false;
};

// What becomes of one tensor.
struct TensorChoice {
  Type type;    // what it is stored as
  Type wanted;  // what it would be if its row length were a multiple of that type's block
};

// Whether a mix has a type for the tensor: norms, biases and routers stay as they are.
bool is_weight_matrix(const GgufTensor& tensor);

// One for each tensor of the model, in its order.
std::vector<TensorChoice> choose_types(const Gguf& model, const Mix& mix, const MixOptions& options);

}  // namespace lora
