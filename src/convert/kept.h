// Tensors that keep their type whatever a model is stored in: quantizing, merging and conversion ask here,
// and by name alone, so that architectures which are not known get the same answer.
//
// They are those that llama.cpp's quantizer leaves alone (src/llama-quant.cpp). Some of its operations take
// nothing but F32 and abort on a model that has anything else there; the others are so small, or so much
// hangs on each of their bits, that fewer bits would save nothing.
#pragma once

#include <string_view>

#include "gguf/gguf.h"

namespace lora {

inline constexpr std::string_view kOutputTensor = "output.weight";

// Why a tensor keeps its type, in a word or two; "" for a weight matrix, which mixes have a type for.
// n_dims: without lengths of 1 at the end.
std::string_view why_kept(std::string_view name, int n_dims);
std::string_view why_kept(const GgufTensor& tensor);

}  // namespace lora
