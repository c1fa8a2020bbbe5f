// The keys of a converted model beside its vocabulary: general.* and the architecture's own.
#pragma once

#include <string>
#include <vector>

#include "convert/hf_config.h"
#include "gguf/gguf.h"

namespace lora {

// general.architecture, .type, .name, ...; n_parameters is for the size in words ("1.1B").
void set_general_keys(GgufWriter& writer, const HfConfig& config, const std::string& name,
                      int64_t n_parameters, uint32_t file_type);
void set_architecture_keys(GgufWriter& writer, const HfConfig& config);

// Tensors that are computed from the configuration: factors that divide rotary frequencies, one per pair.
struct ComputedTensor {
  std::string name;
  std::vector<float> values;
};
// Error naming the configuration's file if it has another number of factors than pairs.
std::vector<ComputedTensor> rope_tensors(const HfConfig& config);

// 6.8 million as "6.8M", 1.1 billion as "1.1B".
std::string size_label(int64_t n_parameters);

}  // namespace lora
