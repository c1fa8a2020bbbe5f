// A checksum over a stream of bytes: FNV-1a over little-endian 64-bit words (the last one filled up with
// zeros), eight times as fast as over bytes. Each step is a bijection of the state, so that a change within
// one word is always seen. Not for anything that must resist an adversary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/hash.h"

namespace lora {

class Checksum {
 public:
  void add(std::span<const std::byte> bytes) {
    size_t at = 0;
    for (; n_ > 0 && at < bytes.size(); ++at) add_byte(bytes[at]);
    for (; at + 8 <= bytes.size(); at += 8) {
      uint64_t word;
      std::memcpy(&word, bytes.data() + at, 8);
      mix(word);
    }
    for (; at < bytes.size(); ++at) add_byte(bytes[at]);
  }
  uint64_t value() const { return n_ == 0 ? h_ : (h_ ^ word_) * kPrime; }

 private:
  static constexpr uint64_t kPrime = 0x100000001b3ull;
  void mix(uint64_t word) { h_ = (h_ ^ word) * kPrime; }
  void add_byte(std::byte b) {
    word_ |= uint64_t(b) << (8 * n_);
    if (++n_ < 8) return;
    mix(word_);
    word_ = 0;
    n_ = 0;
  }

  uint64_t h_ = kHashStart;
  uint64_t word_ = 0;  // bytes that do not fill a word yet
  int n_ = 0;
};

inline uint64_t checksum(std::span<const std::byte> bytes) {
  Checksum sum;
  sum.add(bytes);
  return sum.value();
}

}  // namespace lora
