// config.json of a Hugging Face model: what conversion needs of it (arch/hf_config.h).
#pragma once

#include <string>
#include <string_view>

#include "arch/hf_config.h"

namespace lora {

// Error naming the file and the key for an architecture that is not known (the known ones are listed), a
// missing key, a value that makes no sense, two that contradict each other, and one that GGUF cannot hold
// (convert/hf_unheld.h).
HfConfig read_hf_config(const std::string& folder);
HfConfig parse_hf_config(std::string_view text, const std::string& path);
// Error if the weights are quantized in a way that cannot be read.
void check_weights_are_readable(const HfConfig& config);

}  // namespace lora
