#include "tokenizer/unicode.h"

#include <array>

namespace lora {
namespace {

constexpr uint32_t kFirstMovedLetter = 256;

constexpr bool is_latin1_printable(int byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

struct ByteAlphabet {
  std::array<uint16_t, 256> letter{};
  std::array<int16_t, 256 + 68> byte{};
};

constexpr ByteAlphabet make_byte_alphabet() {
  ByteAlphabet a;
  for (auto& b : a.byte) b = -1;
  uint32_t moved = kFirstMovedLetter;
  for (int byte = 0; byte < 256; ++byte) {
    const uint32_t letter = is_latin1_printable(byte) ? uint32_t(byte) : moved++;
    a.letter[size_t(byte)] = uint16_t(letter);
    a.byte[letter] = int16_t(byte);
  }
  return a;
}

constexpr ByteAlphabet kByteAlphabet = make_byte_alphabet();

}  // namespace

Utf8Step decode_utf8(std::string_view text, size_t at) {
  const uint32_t first = uint8_t(text[at]);
  if (first < 0x80) return {first, 1};
  const Utf8Step stray{kStrayByte + first, 1};
  if (first < 0xc2 || first > 0xf4) return stray;
  const uint32_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (text.size() - at < size) return stray;
  uint32_t code = first & (0x7fu >> size);
  for (uint32_t i = 1; i < size; ++i) {
    const uint32_t byte = uint8_t(text[at + i]);
    if ((byte & 0xc0) != 0x80) return stray;
    code = code << 6 | (byte & 0x3f);
  }
  const bool overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (overlong || surrogate || code > 0x10ffff) return stray;
  return {code, size};
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

size_t valid_utf8_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = decode_utf8(text, at);
    if (step.code >= kStrayByte) break;
    at += step.size;
  }
  return at;
}

uint32_t byte_to_letter(uint8_t byte) {
  return kByteAlphabet.letter[byte];
}

int letter_to_byte(uint32_t code) {
  return code < kByteAlphabet.byte.size() ? kByteAlphabet.byte[code] : -1;
}

}  // namespace lora
