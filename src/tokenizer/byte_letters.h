// The alphabet in which byte-level BPE vocabularies spell bytes.
#pragma once

#include <cstdint>

namespace lora {

// Byte-level BPE writes every byte as one printable character: bytes that are printable in Latin-1 stand for
// themselves, the other 68 follow from U+0100 upwards in byte order ("Ġ" is the space).
// Source: OpenAI's GPT-2 encoder.
uint32_t byte_to_letter(uint8_t byte);
int letter_to_byte(uint32_t code);  // -1 for a character outside the alphabet

}  // namespace lora
