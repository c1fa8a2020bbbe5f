#include "gguf/printable.h"

#include <fmt/format.h>

#include <cstdint>

#include "base/utf8.h"

namespace lora {
namespace {

bool is_control(uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

}  // namespace

std::string printable(std::string_view text, size_t max_bytes) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    const std::string_view character = text.substr(at, step.size);
    if (at + character.size() > max_bytes) return out + "...";
    at += character.size();
    if (step.code < kStrayByte && !is_control(step.code)) {
      out += character;
    } else if (character == "\n") {
      out += "\\n";
    } else if (character == "\r") {
      out += "\\r";
    } else if (character == "\t") {
      out += "\\t";
    } else {
      for (char c : character) out += fmt::format("\\x{:02x}", uint8_t(c));
    }
  }
  return out;
}

}  // namespace lora
