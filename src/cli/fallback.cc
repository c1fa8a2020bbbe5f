#include "cli/fallback.h"

#include <fmt/format.h>

#include "base/printable.h"

namespace lora::cli {

std::string fallback_of(std::string_view name, std::string_view shape, Type wanted, Type to) {
  return fmt::format("{}: rows of {} are no multiple of {}: {} instead of {}", printable(name),
                     shape.substr(0, shape.find(' ')), traits(wanted).block_size, traits(to).name,
                     traits(wanted).name);
}

std::string fallback_summary(int64_t n) {
  if (n == 0) return "";
  return fmt::format("{} tensors in another type, since a block does not divide their rows\n", n);
}

}  // namespace lora::cli
