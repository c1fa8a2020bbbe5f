// Where attention finds the rows of keys or values: an array of f32, or a cache of any type.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include "kernels/attention/attention.h"
#include "kernels/decode/decode.h"
#include "kernels/gemm/micro_kernel.h"

namespace lora {

// Rows of one head as f32, `row` floats apart.
struct RowsView {
  const float* data;
  int64_t row;
};

class KvRows {
 public:
  // An array (n_kv_tokens, n_head_kv * dim).
  KvRows(const float* rows, int64_t n_head_kv, int64_t dim)
      : rows_(rows), dim_(dim), n_cols_(n_head_kv * dim) {}
  // A cache: key j of a segment is row (kv_begin + j) mod n_rows; head h is its numbers [h dim, (h + 1) dim).
  KvRows(const MatrixView& cache, int64_t dim) : dim_(dim), n_cols_(cache.n_cols) {
    n_rows_ = cache.n_rows;
    block_ = traits(cache.type).block_size;
    if (cache.type == Type::F32) rows_ = reinterpret_cast<const float*>(cache.data);
    if (cache.type != Type::F32) decoder_.emplace(cache);
  }

  // Floats that view() needs beside `decoded`, to decode whole blocks where heads begin within one.
  static int64_t block_floats(int64_t head_dim) { return head_dim + 2 * kMaxBlock; }

  // n rows of a head from row `first` on: where they lie, or decoded: (n, dim).
  RowsView view(int64_t first, int64_t n, int64_t head_kv, float* decoded, float* blocks) const {
    first %= n_rows_;
    const int64_t begin = head_kv * dim_;
    if (rows_ && first + n <= n_rows_) return {rows_ + first * n_cols_ + begin, n_cols_};
    const int64_t n_before_end = std::min(n, n_rows_ - first);
    read(decoded, first, n_before_end, begin, blocks);
    read(decoded + n_before_end * dim_, 0, n - n_before_end, begin, blocks);
    return {decoded, dim_};
  }

 private:
  static constexpr int64_t kMaxBlock = 256;

  // n rows that lie one behind the other.
  void read(float* to, int64_t row, int64_t n, int64_t begin, float* blocks) const {
    // Rows lie kilobytes apart, which hardware does not foresee: of f16, 32 heads of 4096 keys take 5.5 ms a
    // token so, 12.5 ms without (AMD Zen 5).
    constexpr int64_t kAhead = 32;
    const int64_t end = begin + dim_, block_begin = begin / block_ * block_,
                  block_end = round_up(end, block_);
    if (decoder_ && block_begin == begin && block_end == end) {
      return decoder_->rows(to, row, n, begin, end, kAhead);
    }
    for (const int64_t last = row + n; row < last; ++row, to += dim_) {
      if (decoder_) (*decoder_)(blocks, row, block_begin, block_end);
      std::copy_n(decoder_ ? blocks + begin - block_begin : rows_ + row * n_cols_ + begin, dim_, to);
    }
  }

  const float* rows_ = nullptr;
  std::optional<RowDecoder> decoder_;
  int64_t n_rows_ = std::numeric_limits<int64_t>::max();
  int64_t dim_, n_cols_, block_ = 1;
};

}  // namespace lora
