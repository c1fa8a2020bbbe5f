#include "base/random.h"

#include <array>
#include <bit>
#include <random>
#include <utility>

namespace lora {
namespace {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {uint32_t(p1 >> 32) ^ c[1] ^ k0, uint32_t(p1), uint32_t(p0 >> 32) ^ c[3] ^ k1, uint32_t(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

}  // namespace

uint64_t random_bits(uint64_t seed, Purpose purpose, uint64_t stream, uint64_t element) {
  const uint64_t key = seed * 0x9E3779B97F4A7C15ull + uint64_t(purpose) * 0xD1B54A32D192ED03ull;
  const auto r =
      philox({uint32_t(element), uint32_t(element >> 32), uint32_t(stream), uint32_t(stream >> 32)},
             uint32_t(key), uint32_t(key >> 32));
  return uint64_t{r[0]} << 32 | r[1];
}

uint64_t permute(uint64_t seed, uint64_t epoch, uint64_t index, uint64_t n) {
  if (n < 2) return 0;
  const int half = (std::bit_width(n - 1) + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  do {
    uint64_t left = index >> half, right = index & mask;
    for (uint64_t round = 0; round < 6; ++round) {
      const uint64_t f = random_bits(seed, Purpose::shuffle, epoch, right * 8 + round) & mask;
      left = std::exchange(right, left ^ f);
    }
    index = left << half | right;
  } while (index >= n);
  return index;
}

uint32_t entropy_seed() {
  return std::random_device{}() & 0x7fffffff;
}

}  // namespace lora
