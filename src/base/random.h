// Random numbers as a function of where they are used, not of a stream's history:
// random_bits(seed, purpose, iteration, element). Dropout is the same in recomputation, a
// resumed run and under any thread count, with no state to store.
//
// Generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011),
// keyed with (seed), counter (element, iteration, purpose).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/hash.h"

namespace lora {

// What a number is drawn for. Values are stored implicitly in every run's results: append only.
enum class Purpose : uint32_t {
  lora_init = 1,
  shuffle = 2,
  dropout = 3,
  sampling = 4,
  split = 5,
  test = 6,
  bench = 7,
  embedding_noise = 8,
  rounding = 9
};

// 64 uniformly random bits. `stream` separates e.g. tensors (see stream_id) or iterations.
uint64_t random_bits(uint64_t seed, Purpose purpose, uint64_t stream, uint64_t element);

// Uniform in [0, 1), 24 bits: exact in f32.
inline float random_uniform(uint64_t seed, Purpose purpose, uint64_t stream, uint64_t element) {
  return float(random_bits(seed, purpose, stream, element) >> 40) * 0x1p-24f;
}

// 32 bits for each column of a row that has 64 bits of its own (random_bits), in so few operations that
// vectors of columns cost little: MurmurHash3's finalizer over the column, twice, with the row's bits
// between.
inline uint32_t mix_bits(uint32_t h) {
  h = (h ^ h >> 16) * 0x85ebca6bu;
  h = (h ^ h >> 13) * 0xc2b2ae35u;
  return h ^ h >> 16;
}
inline uint32_t random_of_column(uint64_t row_bits, uint32_t column) {
  return mix_bits(mix_bits(column * 0x9e3779b9u + uint32_t(row_bits)) ^ uint32_t(row_bits >> 32));
}

// The stream of a tensor: a function of its name, independent of the order of tensors.
inline uint64_t stream_id(std::string_view name) {
  return hash(name);
}

// A random permutation of [0, n) as a function of its key: position `index` of the shuffled order.
// A Feistel network over the next even power of two, cycle-walked into range; no list is stored.
uint64_t permute(uint64_t seed, uint64_t epoch, uint64_t index, uint64_t n);

// A seed from the operating system's entropy source, in [0, 2^31).
uint32_t entropy_seed();

}  // namespace lora
