#include "base/utf8.h"

namespace lora {
namespace {

// What a first byte asks for: how many bytes, and the range of the second one, which is where overlong forms,
// surrogates and what is above U+10FFFF are told apart (Unicode, table 3-7). The others are 80 to BF.
struct Form {
  uint32_t size;  // 0: no character begins so
  uint8_t second_min = 0x80, second_max = 0xbf;
};

Form form_of(uint8_t first) {
  if (first < 0x80) return {1};
  if (first < 0xc2 || first > 0xf4) return {0};
  if (first < 0xe0) return {2};
  if (first < 0xf0) return {3, uint8_t(first == 0xe0 ? 0xa0 : 0x80), uint8_t(first == 0xed ? 0x9f : 0xbf)};
  return {4, uint8_t(first == 0xf0 ? 0x90 : 0x80), uint8_t(first == 0xf4 ? 0x8f : 0xbf)};
}

// Whether the bytes at `at` behind the first are what the form asks for, as far as the text goes.
bool continues(std::string_view text, size_t at, const Form& form) {
  for (size_t i = 1; i < form.size && at + i < text.size(); ++i) {
    const auto byte = uint8_t(text[at + i]);
    if (byte < (i == 1 ? form.second_min : 0x80) || byte > (i == 1 ? form.second_max : 0xbf)) return false;
  }
  return true;
}

}  // namespace

Utf8Step decode_utf8(std::string_view text, size_t at) {
  const auto first = uint8_t(text[at]);
  if (first < 0x80) return {first, 1};
  const Form form = form_of(first);
  if (form.size == 0 || text.size() - at < form.size || !continues(text, at, form))
    return {kStrayByte + first, 1};
  uint32_t code = first & (0x7fu >> form.size);
  for (uint32_t i = 1; i < form.size; ++i) code = code << 6 | (uint8_t(text[at + i]) & 0x3f);
  return {code, form.size};
}

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += char(code);
  } else if (code < 0x800) {
    out += char(0xc0 | code >> 6);
    out += char(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += char(0xe0 | code >> 12);
    out += char(0x80 | (code >> 6 & 0x3f));
    out += char(0x80 | (code & 0x3f));
  } else {
    out += char(0xf0 | code >> 18);
    out += char(0x80 | (code >> 12 & 0x3f));
    out += char(0x80 | (code >> 6 & 0x3f));
    out += char(0x80 | (code & 0x3f));
  }
}

std::string_view without_byte_order_mark(std::string_view text) {
  constexpr std::string_view mark = "\xEF\xBB\xBF";
  return text.starts_with(mark) ? text.substr(mark.size()) : text;
}

size_t valid_utf8_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = decode_utf8(text, at);
    if (step.code >= kStrayByte) break;
    at += step.size;
  }
  return at;
}

bool is_cut_utf8(std::string_view text) {
  const Form form = form_of(uint8_t(text[0]));
  return text.size() < form.size && continues(text, 0, form);
}

}  // namespace lora
