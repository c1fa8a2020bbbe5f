// Weights that some method has quantized: what is stored are its numbers, not the model's.
#pragma once

#include <string>
#include <string_view>

#include "convert/hf_weights.h"

namespace lora {

// As people write the method that config.json names so ("gptq"); a name that is not known stays.
std::string_view quantization_method(std::string_view config_name);

// Error naming the method and a tensor if the weights are quantized, whatever config.json says of it. FP8,
// with or without scales, is none of these: it can be read; reads_mxfp4: so can MXFP4.
void expect_plain_weights(const HfWeights& weights, bool reads_mxfp4);

}  // namespace lora
