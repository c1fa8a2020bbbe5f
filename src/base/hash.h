// 64-bit FNV-1a (Fowler, Noll, Vo): stable across runs and machines, for names and fingerprints.
// Not for anything that must resist an adversary.
#pragma once

#include <cstdint>
#include <string_view>

namespace lora {

inline constexpr uint64_t kHashStart = 0xcbf29ce484222325ull;

inline uint64_t hash(std::string_view bytes, uint64_t h = kHashStart) {
  for (const char c : bytes) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return h;
}

}  // namespace lora
