// UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, at most U+10FFFF. Bytes that are none of it
// are read one by one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lora {

// A byte that belongs to no well-formed sequence is read as this number plus the byte, which is above every
// code point.
inline constexpr uint32_t kStrayByte = 0x110000;

struct Utf8Step {
  uint32_t code;  // code point, or kStrayByte + byte
  uint32_t size;  // bytes read, 1 to 4
};

// Reads the character at `at` < text.size(). Where none is well-formed, cut sequences included, the first
// byte is returned alone.
Utf8Step decode_utf8(std::string_view text, size_t at);

void append_utf8(std::string& out, uint32_t code);

// The text behind the byte order mark that editors of Windows begin files with, if there is one.
std::string_view without_byte_order_mark(std::string_view text);

// Bytes at the start of the text that are valid UTF-8.
size_t valid_utf8_prefix(std::string_view text);

// Whether the text, not empty, is the begin of a character that takes more bytes.
bool is_cut_utf8(std::string_view text);

}  // namespace lora
