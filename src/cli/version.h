#pragma once

#include <string>

namespace lora::cli {

// "lora 0.1.0"; verbose adds the kernel sets that were built, that this machine supports and the one in use.
// Verbose throws Error for a LORA_ISA that is not supported.
std::string version_text(bool verbose);

}  // namespace lora::cli
