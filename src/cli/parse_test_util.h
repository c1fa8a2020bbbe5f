// For tests of command lines: the flags of `lora finetune` as they are parsed, and config files.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/process.h"
#include "cli/finetune_flags.h"
#include "cli/parse.h"

namespace lora::cli::test {

// finetune's options after these arguments; --model-base is given.
struct Finetune {
  FinetuneOptions options;
  CommandLine line = {"finetune", "", "", finetune_flags(options)};
  Given parse(std::vector<std::string> args) {
    args.insert(args.begin(), {"-m", "base.gguf"});
    return parse_flags(line, args);
  }
};

inline std::string usage_error(std::vector<std::string> args) {
  Finetune f;
  try {
    f.parse(std::move(args));
  } catch (const UsageError& e) {
    return e.what();
  }
  return "no UsageError thrown";
}

struct ConfigFile {
  std::string path = testing::TempDir() + "lora_config_" + std::to_string(process_id()) + ".toml";
  explicit ConfigFile(const std::string& text) { std::ofstream(path, std::ios::binary) << text; }
  ~ConfigFile() { std::remove(path.c_str()); }
};

// Of "--lora-scaled" with these arguments, or with these lines of a config file.
inline std::string scaled(const std::vector<std::string>& args, const std::string& config = "") {
  std::vector<LoraFile> loras;
  const CommandLine line = {
      "x", "", "", {{"", {{"--lora-scaled", "FILE:SCALE", "", "", scaled_lora_file(loras)}}}}};
  std::vector<std::string> all = args;
  if (!config.empty()) {
    const std::string path = testing::TempDir() + "scaled.toml";
    std::ofstream(path, std::ios::binary) << config;
    all.insert(all.end(), {"--config", path});
  }
  try {
    parse_flags(line, all);
  } catch (const UsageError& e) {
    return e.what();
  }
  std::string text;
  for (const LoraFile& lora : loras) text += fmt::format("[{} x {}]", lora.path, lora.scale);
  return text;
}

}  // namespace lora::cli::test
