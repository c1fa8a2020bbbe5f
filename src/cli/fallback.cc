#include "cli/fallback.h"

#include "base/plural.h"

namespace lora::cli {

void Fallbacks::add(std::string_view shape, Type wanted, Type to) {
  ++counts_[{wanted, to, std::string(shape.substr(0, shape.find(' ')))}];
}

std::vector<std::string> Fallbacks::lines() const {
  std::vector<std::string> lines;
  for (const auto& [kind, n] : counts_) {
    const auto& [wanted, to, row] = kind;
    lines.push_back(fmt::format("{} in place of {} for {}: {} does not divide rows of {}", traits(to).name,
                                traits(wanted).name, count_of(n, "tensor"), traits(wanted).block_size, row));
  }
  return lines;
}

}  // namespace lora::cli
