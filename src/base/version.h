// The program's version, as cmake's project() has it.
#pragma once

#include <string_view>

namespace lora {

std::string_view program_version();  // "0.1.0"

}  // namespace lora
