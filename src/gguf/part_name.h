// The names of a split model's files: NAME-00001-of-00003.gguf and so on, as llama.cpp looks for them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/gguf.h"

namespace lora {

struct PartName {
  std::string prefix;             // what stands before "-00001-of-00003.gguf"
  int64_t number = 0, count = 0;  // number from 1
};

std::optional<PartName> parse_part_name(std::string_view path);  // nullopt for any other name
std::string part_path(const PartName& name);

// The files that a model was read from: one, or all parts of a split one.
std::vector<std::string> files_of(const Gguf& model);

}  // namespace lora
