#include "base/printable.h"

#include <fmt/format.h>

#include <cstdint>

#include "base/utf8.h"

namespace lora {
namespace {

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

// on_character(its bytes, its code point or kStrayByte + byte), until it returns false.
template <class OnCharacter>
void for_each_character(std::string_view text, const OnCharacter& on_character) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    if (!on_character(text.substr(at, step.size), step.code)) return;
    at += step.size;
  }
}

void append_escaped(std::string& out, std::string_view character, uint32_t code) {
  if (code < kStrayByte && is_shown(code)) {
    out += character;
  } else if (code == '\n') {
    out += "\\n";
  } else if (code == '\r') {
    out += "\\r";
  } else if (code == '\t') {
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
  for_each_character(text, [&](std::string_view character, uint32_t code) {
    n_read += character.size();
    if (n_read > max_bytes) {
      out += "...";
      return false;
    }
    append_escaped(out, character, code);
    return true;
  });
  return out;
}

std::string quoted(std::string_view text, size_t max_bytes) {
  return '"' + printable(text, max_bytes) + '"';
}

std::string printable_lines(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text, [&](std::string_view character, uint32_t code) {
    if (character == "\n" || character == "\t") {
      out += character;
    } else {
      append_escaped(out, character, code);
    }
    return true;
  });
  return out;
}

std::string printable_json(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  for_each_character(json, [&](std::string_view character, uint32_t code) {
    // Below 0x20: the line feeds between values.
    if (code < 0x20 || code >= kStrayByte || is_shown(code)) {
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
