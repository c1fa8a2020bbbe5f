// A block of decoded weights, filled step by step. While the products of one block run, the next is decoded
// between micro-tiles: its loads wait for memory and its shifts run on other ports while the multiply unit
// works.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/half.h"
#include "kernels/decode/decode.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/micro_kernel.h"
#include "kernels/gemm/pack.h"

namespace lora {

// Weight rows or columns of one task, and tokens.
inline constexpr int64_t kSlab = 512, kTokenSlab = 512;
// Floats between panels that are filled or read side by side: their sizes are powers of two, and without the
// gap they would compete for one set of the cache.
inline constexpr int64_t kGap = 32;
// Weights come from memory a block ahead, by then often pushed out of the second-level cache, and from there
// into the first this many rows ahead.
inline constexpr int64_t kRowsAhead = 4;

// The inner dimension of a product of several terms, in blocks of at most kc: of all terms, one after the
// other.
struct InnerBlock {
  std::span<const GemmTerm> terms;
  bool over_rows;  // of the weights: the input gradient's
  int64_t kc, k_step;
  size_t term = 0;
  int64_t k0 = 0;

  bool is_first() const { return term == 0 && k0 == 0; }
  bool is_end() const { return term == terms.size(); }
  const GemmTerm& get() const { return terms[term]; }
  int64_t total() const { return over_rows ? get().w.n_rows : get().w.n_cols; }
  int64_t k() const { return std::min(kc, total() - k0); }
  int64_t k_padded() const { return round_up(k(), k_step); }
  InnerBlock next() const {
    InnerBlock n = *this;
    n.k0 += kc;
    if (n.k0 >= total()) {
      n.k0 = 0;
      ++n.term;
    }
    return n;
  }
};

// W's rows as they are, the left operand of gemm_forward: row i of the task at data() + i * kc, columns of
// one block, zero up to k_padded.
template <class T>
class LeftBlock {
 public:
  LeftBlock(T* data, float* temporary, const MicroKernel& kernel, const InnerBlock& at, int64_t row,
            int64_t n_rows)
      : data_(data),
        temporary_(temporary),
        ld_(kernel.kc),
        row_(row),
        n_rows_(n_rows),
        n_padded_(round_up(n_rows, kernel.mr)),
        k0_(at.k0),
        k_(at.k()),
        k_padded_(at.k_padded()),
        decode_(at.get().w) {}

  const T* data() const { return data_; }
  int64_t steps() const { return n_padded_; }
  // Decodes up to step `until`.
  void advance(int64_t until) {
    for (; done_ < until; ++done_) {
      T* out = data_ + done_ * ld_;
      if (done_ >= n_rows_) {
        std::fill(out, out + k_padded_, T{});
        continue;
      }
      const int64_t row = row_ + done_;
      decode_.prefetch(row, k0_ + k_, k0_ + 2 * k_);
      decode_.prefetch_near(row + kRowsAhead, k0_, k0_ + k_);
      if constexpr (sizeof(T) == 4) {
        decode_(out, row, k0_, k0_ + k_);
      } else {
        decode_(out, row, k0_, k0_ + k_, temporary_);
      }
      std::fill(out + k_, out + k_padded_, T{});
    }
  }

 private:
  T* data_;
  float* temporary_;
  int64_t ld_, row_, n_rows_, n_padded_, k0_, k_, k_padded_;
  int64_t done_ = 0;
  RowDecoder decode_;
};

// Pairs of W's rows interleaved, the right operand of gemm_input_gradient: panels
// [j / nr][k / pair][nr][pair] of some columns.
template <class T>
class RightBlock {
 public:
  RightBlock(T* data, float* temporary, const MicroKernel& kernel, const InnerBlock& at, int64_t column,
             int64_t n_columns)
      : data_(data),
        temporary_(temporary),
        nr_(kernel.nr),
        pair_(kernel.pair),
        row_(at.k0),
        k_(at.k()),
        k_padded_(at.k_padded()),
        column_(column),
        n_(n_columns),
        decode_(at.get().w) {}

  const T* panel(int64_t j) const { return data_ + j / nr_ * stride(); }
  int64_t steps() const { return k_padded_ / pair_; }
  void advance(int64_t until) {
    const int64_t n_padded = round_up(n_, nr_);
    alignas(64) T rows[2][kSlab];
    for (; done_ < until; ++done_) {
      const int64_t p = done_ * pair_;
      for (int64_t q = 0; q < pair_; ++q) {
        const int64_t row = row_ + p + q;
        decode_.prefetch(row + k_padded_, column_, column_ + n_);
        decode_.prefetch_near(row + kRowsAhead, column_, column_ + n_);
        if (p + q >= k_) {
          std::fill(rows[q], rows[q] + n_padded, T{});
          continue;
        }
        if constexpr (sizeof(T) == 4) {
          decode_(rows[q], row, column_, column_ + n_);
        } else {
          decode_(rows[q], row, column_, column_ + n_, temporary_);
        }
        std::fill(rows[q] + n_, rows[q] + n_padded, T{});
      }
      if constexpr (sizeof(T) == 4) {
        for (int64_t j = 0; j < n_padded; j += nr_) {
          std::memcpy(data_ + j / nr_ * stride() + p * nr_, rows[0] + j, size_t(nr_) * 4);
        }
      } else {
        interleave_rows(reinterpret_cast<uint32_t*>(data_ + p * nr_), stride() / 2, rows[0], rows[1],
                        n_padded, nr_);
      }
    }
  }

 private:
  int64_t stride() const { return k_padded_ * nr_ + kGap * 4 / int64_t(sizeof(T)); }

  T* data_;
  float* temporary_;
  int64_t nr_, pair_, row_, k_, k_padded_, column_, n_;
  int64_t done_ = 0;
  RowDecoder decode_;
};

}  // namespace lora
