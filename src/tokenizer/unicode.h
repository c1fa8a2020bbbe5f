// UTF-8, and the alphabet in which byte-level BPE vocabularies spell bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lora {

// A byte that belongs to no valid UTF-8 sequence is read as this number plus the byte, which is above every
// code point.
inline constexpr uint32_t kStrayByte = 0x110000;

struct Utf8Step {
  uint32_t code;  // code point, or kStrayByte + byte
  uint32_t size;  // bytes read, 1 to 4
};

// Reads the character at `at` < text.size(). Overlong forms, surrogates, numbers above U+10FFFF and cut
// sequences are invalid (RFC 3629): their first byte is returned alone.
Utf8Step decode_utf8(std::string_view text, size_t at);

void append_utf8(std::string& out, uint32_t code);

// Bytes at the start of the text that are valid UTF-8.
size_t valid_utf8_prefix(std::string_view text);

// Byte-level BPE writes every byte as one printable character: bytes that are printable in Latin-1 stand for
// themselves, the other 68 follow from U+0100 upwards in byte order ("Ġ" is the space).
// Source: OpenAI's GPT-2 encoder.
uint32_t byte_to_letter(uint8_t byte);
int letter_to_byte(uint32_t code);  // -1 for a character outside the alphabet

}  // namespace lora
