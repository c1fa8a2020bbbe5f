#include "base/printable.h"

#include <fmt/format.h>

#include <cstdint>

namespace lora {
namespace {

// Bytes of the well-formed UTF-8 character at the start of `text` (RFC 3629: no overlong forms, no
// surrogates, at most U+10FFFF), 0 if there is none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? uint8_t(text[i]) : uint8_t{0}; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint8_t first = byte(0), second = byte(1);
  if (first < 0x80) return text.empty() ? 0 : 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool overlong = first == 0xe0 && second < 0xa0, surrogate = first == 0xed && second > 0x9f;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool overlong = first == 0xf0 && second < 0x90, beyond = first == 0xf4 && second > 0x8f;
    return continues(1) && continues(2) && continues(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

// Of a well-formed character.
uint32_t code_point(std::string_view character) {
  const auto byte = [&](size_t i) { return uint32_t(uint8_t(character[i])); };
  if (character.size() == 1) return byte(0);
  uint32_t code = byte(0) & (0xffu >> (character.size() + 1));
  for (size_t i = 1; i < character.size(); ++i) code = code << 6 | (byte(i) & 0x3f);
  return code;
}

// Control characters, and those of Unicode's that show nothing themselves and change how other text looks.
bool is_shown(uint32_t code) {
  struct Range {
    uint32_t first, last;
  };
  constexpr Range kNotShown[] = {{0x00, 0x1f},     {0x7f, 0x9f},     {0x061c, 0x061c},  {0x180e, 0x180e},
                                 {0x200b, 0x200b}, {0x200e, 0x200f}, {0x2028, 0x202e},  {0x2060, 0x206f},
                                 {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};
  for (const Range& range : kNotShown) {
    if (code >= range.first && code <= range.last) return false;
  }
  return true;
}

// Splits `text` into characters; `size` of one that is not UTF-8 is 0, and it is one byte.
template <class OnCharacter>
void for_each_character(std::string_view text, const OnCharacter& on_character) {
  for (size_t at = 0; at < text.size();) {
    const size_t size = utf8_length(text.substr(at));
    const std::string_view character = text.substr(at, size ? size : 1);
    if (!on_character(character, size > 0)) return;
    at += character.size();
  }
}

void append_escaped(std::string& out, std::string_view character, bool is_valid) {
  if (is_valid && is_shown(code_point(character))) {
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

bool continues_character(char c) {
  return (uint8_t(c) & 0xc0) == 0x80;
}

// The beginning and the end of what is longer.
std::string without_middle(std::string_view text, size_t max_bytes) {
  constexpr std::string_view kCut = " ... ";
  if (text.size() <= max_bytes) return std::string(text);
  size_t head = max_bytes / 2, tail = text.size() - (max_bytes - head - kCut.size());
  while (head > 0 && continues_character(text[head])) --head;
  while (tail < text.size() && continues_character(text[tail])) ++tail;
  return std::string(text.substr(0, head)).append(kCut).append(text.substr(tail));
}

}  // namespace

std::string printable(std::string_view text, size_t max_bytes) {
  std::string out;
  size_t n_read = 0;
  for_each_character(text, [&](std::string_view character, bool is_valid) {
    n_read += character.size();
    if (n_read > max_bytes) {
      out += "...";
      return false;
    }
    append_escaped(out, character, is_valid);
    return true;
  });
  return out;
}

std::string printable_lines(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text, [&](std::string_view character, bool is_valid) {
    if (character == "\n" || character == "\t") {
      out += character;
    } else {
      append_escaped(out, character, is_valid);
    }
    return true;
  });
  return out;
}

std::string printable_json(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  for_each_character(json, [&](std::string_view character, bool is_valid) {
    uint32_t code = is_valid ? code_point(character) : 0;
    if (code < 0x20 || is_shown(code)) {  // below 0x20: the line feeds between values
      out += character;
      return true;
    }
    if (code > 0xffff) {
      out += fmt::format("\\u{:04x}", 0xd800 + ((code - 0x10000) >> 10));
      code = 0xdc00 + (code & 0x3ff);
    }
    out += fmt::format("\\u{:04x}", code);
    return true;
  });
  return out;
}

std::string message_line(std::string_view text, size_t max_bytes) {
  return without_middle(printable(without_middle(text, max_bytes), std::string_view::npos), max_bytes);
}

}  // namespace lora
