#include "tokenizer/byte_letters.h"

#include <array>
#include <cstddef>

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

uint32_t byte_to_letter(uint8_t byte) {
  return kByteAlphabet.letter[byte];
}

int letter_to_byte(uint32_t code) {
  return code < kByteAlphabet.byte.size() ? kByteAlphabet.byte[code] : -1;
}

}  // namespace lora
