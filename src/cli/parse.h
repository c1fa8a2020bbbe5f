// Reads a command's arguments and its --config file into the settings of its flag table.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "cli/flag.h"

namespace lora::cli {

// Wrong usage, "WHAT: WHY": exit status 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Source { nowhere, config_file, command_line };  // a later one wins over an earlier

struct Given {
  bool help = false;      // --help or --help-all was asked for: nothing else was looked at
  bool help_all = false;  // the latter
  std::map<std::string, Source> sources;

  // Where the flag with this main name got its value.
  Source source(const std::string& name) const;
};

// Sets the config file's flags, then the command line's in the order they stand in. Throws UsageError
// for an unknown flag (naming the one that may be meant), a value that does not fit, a
// missing required flag; Error for a config file that cannot be read. More threads than cores are warned of
// on stderr.
Given parse_flags(const CommandLine& line, const std::vector<std::string>& args);

}  // namespace lora::cli
