#include "kernels/attention/cache.h"

#include <algorithm>

#include "kernels/encode/encode.h"

namespace lora {

int64_t cache_rows(int64_t n_ctx, int64_t n_batch, int64_t window) {
  return window > 0 ? std::min(n_ctx, window - 1 + n_batch) : n_ctx;
}

AttentionSegment cache_segment(int64_t q_begin, int64_t n_q, int64_t n_past, int64_t window, int64_t n_rows) {
  const int64_t n_before = window > 0 ? std::min(n_past, window - 1) : n_past;
  return {q_begin, n_q, (n_past - n_before) % n_rows, n_before + n_q};
}

void cache_write(std::byte* data, const MatrixView& cache, int64_t first, const float* rows, int64_t n,
                 ThreadPool& pool) {
  const Encoder encode = find_encoder(cache.type);
  const int64_t n_cols = cache.n_cols;
  pool.for_range(n, std::max<int64_t>(1, 16384 / n_cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::byte* to = data + (first + r) % cache.n_rows * cache.row_bytes();
      encode(to, rows + r * n_cols, n_cols, nullptr);
    }
  });
}

}  // namespace lora
