// The page that `lora COMMAND --help` prints, made from the command's flag table.
#pragma once

#include <string>

#include "cli/flag.h"

namespace lora::cli {

// Groups of flags, each with meaning, default and unit.
std::string help_page(const CommandLine& line);

// Text broken at spaces into lines of at most `width` bytes, all but the first indented.
std::string wrap(const std::string& text, size_t width, size_t indent);

}  // namespace lora::cli
