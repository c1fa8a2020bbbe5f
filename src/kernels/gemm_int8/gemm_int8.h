// Many tokens against quantized weights in 8-bit integers, for prompts and for training.
//
//   gemm_int8                 y[t][o] (+)= sum_i x[t][i] w[o][i]
//   gemm_int8_input_gradient  dx[t][i] = sum over terms of  sum_o dy[t][o] w[o][i]
//
// Activations are rounded as for single tokens (dot/int8.h), weights are taken as codes (int8_codes.h):
//
//   y = sum over groups of  scale d sum_i (code_i - offset) q_i - minimum d sum_i q_i
//
// In training, where the kernel set has sums of 32 bits, numbers have two bytes, 256 high + low, multiplied
// one after the other into one sum: twice the products, and an error of 1 in 65278 of the largest of 32
// instead of 1 in 254, without which the losses of a run would be up to a percent away from those of f32.
// Gradients of the loss by the logits as well, of which few are far larger than the others; other gradients
// need it not.
//
// A worker takes a slab of weight rows, unpacks it block by block into the cache, 32 rows side by side, and
// uses it for all tokens. Sums of codes are exact; those of groups are f32, in the order of the inner
// dimension, so that bits depend neither on threads nor on which other tokens are there.
//
// The input gradient's sum runs over rows of the weight, along which a format's scales differ from column to
// column in another way than a product could take out of its sum. So 64 rows of a column get a scale of their
// own: the weight is decoded, and rounded to the nearest of 127 or 64 steps either way in the form that the
// same innermost loops take, columns in place of rows, once for a slab of tokens (Wortsman et al., "Stable
// and low-precision training for large-scale vision-language models", 2023; Xi et al., "Jetfire", 2024).
// Moving the format's scales into dy instead would round dy anew for every 32 columns, and a rounding costs
// more than the 32 products of its number do. Kernel sets that round alike give the same bits, those of
// gemm_int8_test_util.h.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/parallel.h"
#include "kernels/gemm/gemm.h"
#include "quant/types.h"

namespace lora {

// Whether the kernel set in use has such a product for the type, and it is the fastest for so many tokens:
// one alone is multiplied sooner by dot_rows(), many by the tile unit.
bool prefers_int8_gemm(Type type, int64_t n_tokens);

// Whether the kernel set in use has these products at all, and for weights of this type.
bool has_int8_gemm();
bool has_int8_gemm(Type type);

// Of how many bytes an activation's number is.
enum class TokenBytes : uint8_t { one = 1, two = 2 };

// How the kernel set in use rounds in training: activations and gradients of a softmax to so many bytes,
// columns of the weight to so many steps either way.
struct Int8Training {
  TokenBytes bytes;
  int column_steps;
};
Int8Training int8_training();

// Whether training with these products is faster than in floats, bf16 among them, and as exact as that: with
// two bytes, where no unit multiplies bf16 faster.
bool prefers_int8_training();

// Rounded activations, `width` tokens side by side; the last ones are followed by zeros, and so are
// the columns of each up to n_in, a multiple of 32 or of gradients of kGradientGroup. Columns lie in pieces,
// all tokens of one before the next, so that a product that takes a piece at a time reads one stretch of
// memory.
struct Int8Tokens {
  int8_t* q;              // [piece][token / width][column / 4][width][4]
  int8_t* low = nullptr;  // the same; where it is, numbers are 256 q + low
  float* d;               // [piece][token / width][column / 32][width]; of gradients column / kGradientGroup
  int32_t* starts;  // [piece][token / width][column / group][width]: what is taken off for the codes' offset
  // Of what is no gradient: sums of numbers, of which a product makes starts and these for its weight.
  int32_t* sums16;  // [piece][token / width][column / 16][width]
  int32_t* sums32;
  float* products;
  int width;
  int64_t n_tokens, n_in, piece;

  // Where in q columns [column, column + n) of the tile that begins with this token are, none of the next
  // piece among them. What a group has once is at as many times less.
  int64_t at(int64_t token, int64_t column) const {
    const int64_t start = column / piece * piece, n_padded = (n_tokens + width - 1) / width * width;
    return start * n_padded + token * std::min(piece, n_in - start) + (column - start) * width;
  }
};

// Bytes of storage that round_tokens() and round_gradients() need at most; n_tokens: of all groups.
int64_t int8_tokens_bytes(int64_t n_tokens, int64_t n_cols, TokenBytes bytes);

// Rows of n_cols values to the nearest, for gemm_int8(); each group by itself, for all in one loop.
std::vector<Int8Tokens> round_tokens(std::byte* storage, std::span<const TokenRows> groups, int64_t n_cols,
                                     TokenBytes bytes, ThreadPool& pool);

// Rounding up or down at random, so that the mean over keys is the number itself: a function of the key, of
// the row's position and of the column.
struct RandomRounding {
  uint64_t key;
  const int32_t* positions = nullptr;  // of a group's rows; nullptr: one after the other, from `first` on
  int64_t first = 0;

  int64_t position(int64_t row) const { return positions ? positions[row] : first + row; }
};

// The same for gemm_int8_input_gradient(): of one byte each group with its rounding, to the nearest without
// any; of two to the nearest.
std::vector<Int8Tokens> round_gradients(std::byte* storage, std::span<const TokenRows> groups, int64_t n_cols,
                                        TokenBytes bytes, std::span<const RandomRounding> rounding,
                                        ThreadPool& pool);

// So many columns of a gradient, and rows of a column of the weight, have one scale.
inline constexpr int kGradientGroup = 64;

// y: (x.n_tokens, w.n_rows); w has x.n_in columns and a type that has such a product.
struct Int8Product {
  float* y;
  MatrixView w;
  const Int8Tokens* x;
};
// All in one loop; weights of one type.
void gemm_int8(std::span<const Int8Product> products, bool accumulate, GemmScratch& scratch,
               ThreadPool& pool);

// w: (n_out, n_in) of a type that has such products; dy of as many columns as it has rows.
struct Int8Term {
  MatrixView w;
  const Int8Tokens* dy;
};
// dx: (n_tokens, n_in). All terms share n_tokens and n_in.
struct Int8Gradient {
  float* dx;
  std::span<const Int8Term> terms;
};
// All in one loop; what dx held counts for nothing.
void gemm_int8_input_gradient(std::span<const Int8Gradient> gradients, GemmScratch& scratch,
                              ThreadPool& pool);

}  // namespace lora
