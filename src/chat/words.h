// What the files of this folder do with the words of messages.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace lora {

inline constexpr std::string_view kSpace = " \t\n\r";

// Without the space around it.
inline std::string_view trimmed(std::string_view words) {
  words.remove_prefix(std::min(words.find_first_not_of(kSpace), words.size()));
  return words.substr(0, words.find_last_not_of(kSpace) + 1);  // npos + 1 is 0
}

// As JSON. Stray bytes of a file that is not UTF-8 are replaced; they are said where it is read.
inline std::string dumped(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace lora
