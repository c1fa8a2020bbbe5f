// PNG files for tests, chunk by chunk.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lora::test {

inline constexpr std::string_view kPngSignature{"\x89PNG\r\n\x1a\n", 8};

inline std::string big_endian(uint32_t number) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += char(number >> shift & 0xff);
  return bytes;
}

// Bit by bit, as the specification defines it.
inline uint32_t plain_crc32(std::string_view bytes) {
  uint32_t c = 0xffffffff;
  for (const char byte : bytes) {
    c ^= uint8_t(byte);
    for (int bit = 0; bit < 8; ++bit) c = (c & 1) != 0 ? c >> 1 ^ 0xedb88320 : c >> 1;
  }
  return ~c;
}

inline std::string chunk(const std::string& type, const std::string& data) {
  return big_endian(uint32_t(data.size())) + type + data + big_endian(plain_crc32(type + data));
}

inline std::string base64(std::string_view bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (i + k < bytes.size() ? uint8_t(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) text += i + k > bytes.size() ? '=' : digits[bits >> (18 - 6 * k) & 63];
  }
  return text;
}

}  // namespace lora::test
