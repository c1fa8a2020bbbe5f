// Base64 (RFC 4648), as pictures and JSON carry bytes; its URL alphabet too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lora {

// nullopt for what is none. White space is passed over, the = at the end may lack.
inline std::optional<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
                             spaces = " \t\r\n";
  text = text.substr(0, text.find_last_not_of(" \t\r\n=") + 1);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int n_bits = 0;
  for (const char c : text) {
    if (spaces.find(c) != spaces.npos) continue;
    const size_t digit = c == '-' ? 62 : c == '_' ? 63 : digits.find(c);
    if (digit == digits.npos) return std::nullopt;
    bits = bits << 6 | uint32_t(digit);
    n_bits += 6;
    if (n_bits < 8) continue;
    n_bits -= 8;
    bytes += char(bits >> n_bits & 0xff);
  }
  if (n_bits >= 6) return std::nullopt;  // a digit by itself
  return bytes;
}

}  // namespace lora
