// Letters of ASCII without their case, whatever the locale: names of types, files, words of flags.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace lora {

constexpr char lower_case(char c) {
  return 'A' <= c && c <= 'Z' ? char(c - 'A' + 'a') : c;
}
constexpr char upper_case(char c) {
  return 'a' <= c && c <= 'z' ? char(c - 'a' + 'A') : c;
}

inline std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = lower_case(c);
  return result;
}
inline std::string upper_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = upper_case(c);
  return result;
}

constexpr bool equal_in_any_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower_case(x) == lower_case(y); });
}
constexpr bool ends_in_any_case(std::string_view text, std::string_view ending) {
  return text.size() >= ending.size() && equal_in_any_case(text.substr(text.size() - ending.size()), ending);
}

}  // namespace lora
