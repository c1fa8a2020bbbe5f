// Prompts against quantized weights in 8-bit integers: y[t][o] (+)= sum_i x[t][i] w[o][i].
//
// Activations are rounded as for single tokens (dot/int8.h), weights are taken as codes (int8_codes.h):
//
//   y = sum over groups of  scale d sum_i (code_i - offset) q_i - minimum d sum_i q_i
//
// A worker takes a slab of weight rows, unpacks it block by block into the cache, 32 rows side by side, and
// uses it for all tokens. Sums of codes are exact; those of groups are f32, in the order of the inner
// dimension, so that bits depend neither on threads nor on which other tokens are there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/parallel.h"
#include "kernels/gemm/gemm.h"
#include "quant/types.h"

namespace lora {

// Whether the kernel set in use has such a product for the type, and it is the fastest for so many tokens:
// one alone is multiplied sooner by dot_rows(), many by the tile unit.
bool prefers_int8_gemm(Type type, int64_t n_tokens);

// Activations rounded to 8 bits, `width` tokens side by side; the last ones are followed by zeros.
struct Int8Tokens {
  int8_t* q;        // [token / width][n_in / 4][width][4]
  float* d;         // [token / width][n_in / 32][width]
  int16_t* sums16;  // [token / width][n_in / 16][width]: of q
  int16_t* sums32;  // the same of 32
  int32_t* starts;  // [token / width][n_in / group][width]: what a product makes of the sums for its weight
  float* products;
  int width;
  int64_t n_tokens, n_in;
};

// Bytes of storage that round_tokens() needs; n_tokens: of all groups.
int64_t int8_tokens_bytes(int64_t n_tokens, int64_t n_in);

// Rows of n_in values, a multiple of 32; each group by itself, for all in one loop.
std::vector<Int8Tokens> round_tokens(std::byte* storage, std::span<const TokenRows> groups, int64_t n_in,
                                     ThreadPool& pool);

// y: (x.n_tokens, w.n_rows); w has x.n_in columns and a type that has such a product.
struct Int8Product {
  float* y;
  MatrixView w;
  const Int8Tokens* x;
};
// All in one loop; weights of one type.
void gemm_int8(std::span<const Int8Product> products, bool accumulate, GemmScratch& scratch,
               ThreadPool& pool);

}  // namespace lora
