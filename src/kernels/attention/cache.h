// Keys and values of the tokens so far, kept in any type for generation: rows at their positions, where a
// layer sees all keys; a ring of rows, at positions modulo their number, where it sees a window.
#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "kernels/attention/attention.h"

namespace lora {

// Rows that a layer needs for positions below n_ctx, of which at most n_batch come at once: the window of the
// first of them begins window - 1 positions earlier. window 0: none.
int64_t cache_rows(int64_t n_ctx, int64_t n_batch, int64_t window);

// Where attention_forward() finds the keys of n_q new tokens after n_past others, their own included, once
// they are written: a cache of n_rows = cache_rows(...).
AttentionSegment cache_segment(int64_t q_begin, int64_t n_q, int64_t n_past, int64_t window, int64_t n_rows);

// Encodes n rows of numbers to the rows of the cache from position `first` on, modulo its number of rows.
// Error for a type that holds no weights. `data` is the cache's own memory.
void cache_write(std::byte* data, const MatrixView& cache, int64_t first, const float* rows, int64_t n,
                 ThreadPool& pool);

}  // namespace lora
