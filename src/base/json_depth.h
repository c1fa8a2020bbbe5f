// How deep the JSON of a foreign file nests, before a parser sees it: parsers take a hundred bytes for each
// bracket, and what they make of it is copied and written by functions that call themselves.
#pragma once

#include <cstdint>
#include <string_view>

namespace lora {

// More levels than any file has that this program reads.
inline constexpr int64_t kMostJsonLevels = 64;

inline bool nests_too_deep(std::string_view json) {
  int64_t depth = 0;
  for (size_t at = 0; at < json.size(); ++at) {
    const char c = json[at];
    if (c == '"') {
      for (++at; at < json.size() && json[at] != '"'; ++at) at += json[at] == '\\';
    } else if (c == '{' || c == '[') {
      if (++depth > kMostJsonLevels) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

}  // namespace lora
