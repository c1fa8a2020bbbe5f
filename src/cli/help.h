// The page that `lora COMMAND --help` prints, made from the command's flag table.
#pragma once

#include <string>

#include "cli/flag.h"

namespace lora::cli {

// Whether --help shows a part of the flags: of more than fifty those that are is_main, where any is.
bool is_long(const CommandLine& line);
// The flag whose page has all of the command's: "--help" or "--help-all".
const char* full_help_flag(const CommandLine& line);

// Groups of flags, each with meaning, default and unit. `all`: those too that --help leaves out.
std::string help_page(const CommandLine& line, bool all);

}  // namespace lora::cli
