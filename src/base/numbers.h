// Text that is a number from its first to its last byte, in the C locale whatever the user's is.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace lora {

// Nothing where the text is empty, holds anything else, white space and a plus sign included, or is out of
// T's range.
template <class T>
std::optional<T> number_in(std::string_view text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && rest == end ? std::optional(value) : std::nullopt;
}

// The same of the digits that the text begins with, which are taken off it.
template <class T>
std::optional<T> take_number(std::string_view& text) {
  T value{};
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(size_t(rest - text.data()));
  return value;
}

}  // namespace lora
