// Counts and lists in sentences.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lora {

// "1 sample", "2 samples".
inline std::string count_of(int64_t n, std::string_view noun) {
  return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}
inline std::string count_of(int64_t n, std::string_view one, std::string_view several) {
  return fmt::format("{} {}", n, n == 1 ? one : several);
}

// " and 7 more" behind a list of which so many are not named, "" behind a whole one. at_least: nobody has
// counted further.
inline std::string and_more(size_t n, bool at_least = false) {
  if (n == 0) return at_least ? " and more" : "";
  return fmt::format(" and {}{} more", at_least ? "at least " : "", n);
}

// "a, b, c and 7 more" of the first `most`; `last` stands before the last one where all are named.
inline std::string list_of(const std::vector<std::string>& names, size_t most, std::string_view last = ", ") {
  std::string text;
  for (size_t i = 0; i < std::min(most, names.size()); ++i) {
    if (i > 0) text += i + 1 == names.size() ? last : ", ";
    text += names[i];
  }
  return text + and_more(names.size() - std::min(most, names.size()));
}

}  // namespace lora
