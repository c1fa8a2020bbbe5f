// --config FILE: flags from a TOML or INI file, as CLI11 reads it.
//
//   ctx = 256                 # the names of the flags without their dashes
//   sample-start = "<s>"
//   train-data = ["a.txt", "b.txt"]
//   [finetune]                # lines from here are for this command alone
//   escape = true
#pragma once

#include <string>
#include <vector>

namespace lora::cli {

struct ConfigEntry {
  std::string name;
  std::vector<std::string> values;
};

// The entries that concern the command, in file order. Throws Error naming the file.
std::vector<ConfigEntry> read_config_file(const std::string& path, const std::string& command);

}  // namespace lora::cli
