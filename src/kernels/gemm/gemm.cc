#include "kernels/gemm/gemm.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "kernels/decode/decode.h"
#include "kernels/gemm/micro_kernel.h"
#include "kernels/gemm/pack.h"
#include "kernels/isa.h"

namespace lora {
namespace {

// A slab of the output is one task: at most kSlab x kSlab, so that its sums, a block of decoded weights and a
// block of activations stay in a 2 MB L2 together, and activations are read from memory once per kSlab weight
// rows.
constexpr int64_t kSlab = 512;
// Floats between panels that are filled or read side by side: their sizes are powers of two, and without the
// gap they would compete for one set of the cache.
constexpr int64_t kGap = 32;
constexpr int64_t kMaxPanels = kSlab / 8;
constexpr int64_t kWeightBytes = (kSlab * kMaxKc + kMaxPanels * kGap) * 4;
constexpr int64_t kSumBytes = ((kSlab + kMaxMr) * (kSlab + kMaxNr) + kMaxPanels * kGap) * 4;
constexpr int64_t kRowBytes = 2 * kSlab * 4;

int64_t round_up(int64_t n, int64_t step) {
  return (n + step - 1) / step * step;
}
int64_t ceil_div(int64_t n, int64_t d) {
  return (n + d - 1) / d;
}

// What a worker's scratch holds.
struct Parts {
  std::byte* weights;  // L or R block of weights
  float* sums;  // the task's output: panels of nr columns, [panel][row][nr], so that a tile is one piece
  float* rows;  // decoded rows before interleaving, 2 x kMaxKc
};
Parts parts(GemmScratch& scratch, int worker) {
  std::byte* p = scratch.worker(worker);
  return {p, reinterpret_cast<float*>(p + kWeightBytes),
          reinterpret_cast<float*>(p + kWeightBytes + kSumBytes)};
}

// n cut into equal pieces of at most kSlab, each a multiple of `step`.
int64_t piece_size(int64_t n, int64_t step, int64_t n_pieces = 1) {
  n_pieces = std::max(n_pieces, ceil_div(n, kSlab));
  return std::min(round_up(ceil_div(n, n_pieces), step), kSlab / step * step);
}

// How an output of n_tokens x n_other is cut into tasks: both sides in pieces, at least two tasks for each
// thread where there is enough to cut. Cutting tokens decodes weights again, so the other side is cut first.
struct Slabs {
  int64_t tokens, other;           // per task
  int64_t n_token_slabs, n_other;  // tasks along each side

  Slabs(int64_t n_tokens, int64_t token_step, int64_t n_other_total, int64_t other_step, int n_threads) {
    tokens = piece_size(n_tokens, token_step);
    n_token_slabs = ceil_div(n_tokens, tokens);
    const int64_t wanted = n_threads == 1 ? 1 : 2 * n_threads;
    // A multiple of the number of threads, so that all end together.
    const int64_t pieces =
        round_up(ceil_div(std::max(wanted, ceil_div(n_other_total, kSlab)), n_token_slabs), n_threads);
    other = piece_size(n_other_total, other_step, pieces);
    n_other = ceil_div(n_other_total, other);
    while (n_other * n_token_slabs < n_threads && tokens > token_step) {
      tokens = round_up(tokens / 2, token_step);
      n_token_slabs = ceil_div(n_tokens, tokens);
    }
  }
};

// Columns of a weight can be cut where no block of any term is split, and where a panel begins.
int64_t column_step(std::span<const GemmTerm> terms, int64_t nr) {
  int64_t step = nr;
  for (const GemmTerm& term : terms) step = std::max(step, traits(term.w.type).block_size);
  return step;
}

// Rows to look ahead where no earlier block could bring them near.
constexpr int64_t kAhead = 8;

// out[i][0..n) of element type T <- rows of W, columns [k0, k0 + k), zero up to k_padded.
template <class T>
void decode_left(T* out, int64_t ldl, const RowDecoder& decode, int64_t row, int64_t n_rows, int64_t k0,
                 int64_t k, int64_t k_padded, float* temporary) {
  for (int64_t i = 0; i < n_rows; ++i, out += ldl) {
    if (k0 == 0) decode.prefetch(row + i + kAhead, k0, k0 + k);
    decode.prefetch(row + i, k0 + k, k0 + 2 * k);  // the next block, while this one is used
    if constexpr (sizeof(T) == 4) {
      decode(out, row + i, k0, k0 + k);
    } else {
      decode(temporary, row + i, k0, k0 + k);
      scale_row(out, temporary, k, 1.0f);
    }
    std::fill(out + k, out + k_padded, T{});
  }
}

// Elements of type T from one right panel of k rows to the next.
template <class T>
int64_t right_panel(const MicroKernel& kernel, int64_t k) {
  return k * kernel.nr + kGap * 4 / int64_t(sizeof(T));
}

// Panels [j / nr][k / pair][nr][pair] <- W's rows [row, row + k), columns [j0, j0 + n).
template <class T>
void decode_right(T* out, const MicroKernel& kernel, const RowDecoder& decode, int64_t row, int64_t k,
                  int64_t k_padded, int64_t j0, int64_t n, float* temporary) {
  const int64_t nr = kernel.nr, n_padded = round_up(n, nr), panel = right_panel<T>(kernel, k_padded);
  for (int64_t p = 0; p < k_padded; p += kernel.pair) {
    for (int64_t q = 0; q < kernel.pair; ++q) {
      float* values = temporary + q * kSlab;
      decode.prefetch(row + p + q + k_padded, j0, j0 + n);  // the next block, while this one is used
      if (p + q < k) {
        decode(values, row + p + q, j0, j0 + n);
      } else {
        std::fill(values, values + n, 0.0f);
      }
      std::fill(values + n, values + n_padded, 0.0f);
    }
    if constexpr (sizeof(T) == 4) {
      for (int64_t j = 0; j < n_padded; j += nr)
        std::memcpy(out + j / nr * panel + p * nr, temporary + j, size_t(nr) * 4);
    } else {
      interleave_rows(reinterpret_cast<uint32_t*>(out + p * nr), panel / 2, temporary, temporary + kSlab,
                      n_padded, nr);
    }
  }
}

void store_row(float* out, const float* sums, int64_t n, bool accumulate) {
  if (!accumulate) {
    std::memcpy(out, sums, size_t(n) * sizeof(float));
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] += sums[i];
  }
}

template <class T>
void forward(float* y, std::span<const GemmTerm> terms, bool accumulate, const MicroKernel& kernel,
             GemmScratch& scratch, ThreadPool& pool) {
  const int64_t n_tokens = terms[0].x.n_tokens, n_out = terms[0].w.n_rows;
  const Slabs slabs(n_tokens, kernel.nr, n_out, kernel.mr, pool.size());
  pool.run(slabs.n_other * slabs.n_token_slabs, [&](int64_t task, int worker) {
    const auto [block, sums, temporary] = parts(scratch, worker);
    const UnitGuard guard(kernel);
    const int64_t o0 = task % slabs.n_other * slabs.other, rows = std::min(slabs.other, n_out - o0);
    const int64_t t0 = task / slabs.n_other * slabs.tokens, tokens = std::min(slabs.tokens, n_tokens - t0);
    const int64_t padded_rows = round_up(rows, kernel.mr), nr = kernel.nr;
    bool first = true;
    for (const GemmTerm& term : terms) {
      const RowDecoder decode(term.w);
      const int64_t k_total = term.w.n_cols, k_padded = round_up(k_total, kernel.k_step);
      for (int64_t k0 = 0; k0 < k_total; k0 += kernel.kc) {
        const int64_t k = std::min<int64_t>(kernel.kc, k_total - k0), kp = round_up(k, kernel.k_step);
        T* left = reinterpret_cast<T*>(block);
        decode_left(left, kernel.kc, decode, o0, rows, k0, k, kp, temporary);
        for (int64_t i = rows; i < padded_rows; ++i) {
          std::fill(left + i * kernel.kc, left + i * kernel.kc + kp, T{});
        }
        for (int64_t t = 0; t < tokens; t += nr) {
          const T* right = reinterpret_cast<const T*>(term.x.data) + (t0 + t) * k_padded + k0 * nr;
          for (int64_t i = 0; i < rows; i += kernel.mr) {
            kernel.tile(sums + t * padded_rows + i * nr, nr, left + i * kernel.kc, kernel.kc, right, kp,
                        !first);
          }
        }
        first = false;
      }
    }
    // A panel is (rows, nr tokens): turned some tokens at a time, in the first-level cache.
    constexpr int64_t kTurned = 8;
    alignas(64) float turned[kTurned * kSlab];
    for (int64_t tb = 0; tb < tokens; tb += kTurned) {
      const int64_t n = std::min(kTurned, tokens - tb);
      const float* panel = sums + tb / nr * nr * padded_rows + tb % nr;
      transpose(reinterpret_cast<uint32_t*>(turned), kSlab, reinterpret_cast<const uint32_t*>(panel), nr,
                rows, n);
      for (int64_t t = 0; t < n; ++t) {
        store_row(y + (t0 + tb + t) * n_out + o0, turned + t * kSlab, rows, accumulate);
      }
    }
  });
}

template <class T>
void input_gradient(float* dx, std::span<const GemmTerm> terms, bool accumulate, const MicroKernel& kernel,
                    GemmScratch& scratch, ThreadPool& pool) {
  const int64_t n_tokens = terms[0].x.n_tokens, n_in = terms[0].w.n_cols;
  const Slabs slabs(n_tokens, kernel.mr, n_in, column_step(terms, kernel.nr), pool.size());
  pool.run(slabs.n_other * slabs.n_token_slabs, [&](int64_t task, int worker) {
    const auto [block, sums, temporary] = parts(scratch, worker);
    const UnitGuard guard(kernel);
    const int64_t i0 = task % slabs.n_other * slabs.other, columns = std::min(slabs.other, n_in - i0);
    const int64_t t0 = task / slabs.n_other * slabs.tokens, tokens = std::min(slabs.tokens, n_tokens - t0);
    const int64_t padded_tokens = round_up(n_tokens, kernel.mr), nr = kernel.nr;
    const int64_t panel_size = round_up(tokens, kernel.mr) * nr + kGap;
    bool first = true;
    for (const GemmTerm& term : terms) {
      const RowDecoder decode(term.w);
      const int64_t k_total = term.w.n_rows;
      const int64_t ldl = std::min<int64_t>(kernel.kc, round_up(k_total, kernel.k_step));
      for (int64_t k0 = 0; k0 < k_total; k0 += kernel.kc) {
        const int64_t k = std::min<int64_t>(kernel.kc, k_total - k0), kp = round_up(k, kernel.k_step);
        T* right = reinterpret_cast<T*>(block);
        decode_right(right, kernel, decode, k0, k, kp, i0, columns, temporary);
        const T* left =
            reinterpret_cast<const T*>(term.x.data) + k0 / kernel.kc * padded_tokens * ldl + t0 * ldl;
        for (int64_t j = 0; j < columns; j += nr) {
          for (int64_t t = 0; t < tokens; t += kernel.mr) {
            kernel.tile(sums + j / nr * panel_size + t * nr, nr, left + t * ldl, ldl,
                        right + j / nr * right_panel<T>(kernel, kp), kp, !first);
          }
        }
        first = false;
      }
    }
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t j = 0; j < columns; j += nr) {
        store_row(dx + (t0 + t) * n_in + i0 + j, sums + j / nr * panel_size + t * nr,
                  std::min(nr, columns - j), accumulate);
      }
    }
  });
}

template <class T>
PackedTokens pack_right(std::byte* storage, const float* x, int64_t n_tokens, int64_t n_cols, float scale,
                        const MicroKernel& kernel, ThreadPool& pool) {
  // 32 bits at a time: a float, or a pair of bf16 that stays together.
  constexpr int64_t kColumns = 256, kPerWord = 4 / sizeof(T);
  const int64_t nr = kernel.nr, k_padded = round_up(n_cols, kernel.k_step);
  pool.run(ceil_div(n_tokens, nr), [&](int64_t panel, int) {
    alignas(64) T rows[kMaxNr * kColumns];
    T* out = reinterpret_cast<T*>(storage) + panel * nr * k_padded;
    for (int64_t k0 = 0; k0 < k_padded; k0 += kColumns) {
      const int64_t k = std::min(kColumns, k_padded - k0);
      for (int64_t lane = 0; lane < nr; ++lane) {
        const int64_t t = panel * nr + lane,
                      valid = t < n_tokens ? std::clamp<int64_t>(n_cols - k0, 0, k) : 0;
        T* row = rows + lane * kColumns;
        if (valid > 0) scale_row(row, x + t * n_cols + k0, valid, scale);
        std::fill(row + valid, row + k, T{});
      }
      transpose(reinterpret_cast<uint32_t*>(out + k0 * nr), nr, reinterpret_cast<const uint32_t*>(rows),
                kColumns / kPerWord, nr, k / kPerWord);
    }
  });
  return {storage, n_tokens, n_cols};
}

template <class T>
PackedTokens pack_left(std::byte* storage, const float* dy, int64_t n_tokens, int64_t n_cols, float scale,
                       const MicroKernel& kernel, ThreadPool& pool) {
  const int64_t padded_tokens = round_up(n_tokens, kernel.mr);
  const int64_t k_padded = round_up(n_cols, kernel.k_step), ldl = std::min<int64_t>(kernel.kc, k_padded);
  pool.for_range(padded_tokens, 8, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t k0 = 0; k0 < k_padded; k0 += ldl) {
        T* out = reinterpret_cast<T*>(storage) + k0 * padded_tokens + t * ldl;
        const int64_t valid = t < n_tokens ? std::clamp<int64_t>(n_cols - k0, 0, ldl) : 0;
        if (valid > 0) scale_row(out, dy + t * n_cols + k0, valid, scale);
        std::fill(out + valid, out + ldl, T{});
      }
    }
  });
  return {storage, n_tokens, n_cols};
}

}  // namespace

const MicroKernel& micro_kernel(GemmInput input) {
  const auto choose = [](GemmInput which) {
    if (isa() == Isa::scalar) return scalar_micro_kernel(which);
    if (which == GemmInput::bf16 && has_native_bf16()) {
      return isa() == Isa::amx ? amx_micro_kernel() : avx512_bf16_micro_kernel();
    }
    return simd_micro_kernel(which);
  };
  static const MicroKernel kernels[] = {choose(GemmInput::f32), choose(GemmInput::bf16)};
  return kernels[int(input)];
}

GemmInput gemm_input(Precision precision) {
  const bool bf16 = precision == Precision::bf16 || (precision == Precision::automatic && has_native_bf16());
  return bf16 ? GemmInput::bf16 : GemmInput::f32;
}

int64_t packed_bytes(GemmInput input, int64_t n_tokens, int64_t n_cols) {
  const MicroKernel& kernel = micro_kernel(input);
  const int64_t element = input == GemmInput::f32 ? 4 : 2;
  const int64_t k_padded = round_up(n_cols, kernel.k_step), ldl = std::min<int64_t>(kernel.kc, k_padded);
  const int64_t right = round_up(n_tokens, kernel.nr) * k_padded;
  const int64_t left = round_up(n_tokens, kernel.mr) * round_up(k_padded, ldl);
  return round_up(std::max(left, right) * element, 64);
}

GemmScratch::GemmScratch(int n_workers) : storage_(n_workers * bytes_per_worker()) {}
int64_t GemmScratch::bytes_per_worker() {
  return kWeightBytes + kSumBytes + kRowBytes;
}

PackedTokens pack_forward(std::byte* storage, const float* x, int64_t n_tokens, int64_t n_cols, float scale,
                          GemmInput input, ThreadPool& pool) {
  const MicroKernel& kernel = micro_kernel(input);
  return input == GemmInput::f32 ? pack_right<float>(storage, x, n_tokens, n_cols, scale, kernel, pool)
                                 : pack_right<bf16>(storage, x, n_tokens, n_cols, scale, kernel, pool);
}

PackedTokens pack_gradient(std::byte* storage, const float* dy, int64_t n_tokens, int64_t n_cols, float scale,
                           GemmInput input, ThreadPool& pool) {
  const MicroKernel& kernel = micro_kernel(input);
  return input == GemmInput::f32 ? pack_left<float>(storage, dy, n_tokens, n_cols, scale, kernel, pool)
                                 : pack_left<bf16>(storage, dy, n_tokens, n_cols, scale, kernel, pool);
}

void gemm_forward(float* y, std::span<const GemmTerm> terms, bool accumulate, GemmInput input,
                  GemmScratch& scratch, ThreadPool& pool) {
  const MicroKernel& kernel = micro_kernel(input);
  if (input == GemmInput::f32) {
    forward<float>(y, terms, accumulate, kernel, scratch, pool);
  } else {
    forward<bf16>(y, terms, accumulate, kernel, scratch, pool);
  }
}

void gemm_input_gradient(float* dx, std::span<const GemmTerm> terms, bool accumulate, GemmInput input,
                         GemmScratch& scratch, ThreadPool& pool) {
  const MicroKernel& kernel = micro_kernel(input);
  if (input == GemmInput::f32) {
    input_gradient<float>(dx, terms, accumulate, kernel, scratch, pool);
  } else {
    input_gradient<bf16>(dx, terms, accumulate, kernel, scratch, pool);
  }
}

void gemm_weight_gradient(float* dw, const float* dy, const float* x, int64_t n_tokens, int64_t n_out,
                          int64_t n_in, float scale, GemmScratch& scratch, ThreadPool& pool) {
  const MicroKernel& kernel = micro_kernel(GemmInput::f32);
  // Lanes run over the wider side; the narrow one (the rank) is the left operand.
  const bool turned = n_out > n_in;
  const float* narrow = turned ? x : dy;
  const float* wide = turned ? dy : x;
  const int64_t m = std::min(n_out, n_in), n = std::max(n_out, n_in);
  const RowDecoder wide_rows(f32_matrix(wide, n_tokens, n));
  const Slabs slabs(m, kernel.mr, n, kernel.nr, pool.size());
  pool.run(slabs.n_other * slabs.n_token_slabs, [&](int64_t task, int worker) {
    const auto [block, sums, temporary] = parts(scratch, worker);
    const UnitGuard guard(kernel);
    const int64_t j0 = task % slabs.n_other * slabs.other, columns = std::min(slabs.other, n - j0);
    const int64_t i0 = task / slabs.n_other * slabs.tokens, rows = std::min(slabs.tokens, m - i0);
    const int64_t ldc = round_up(columns, kernel.nr);
    // Both blocks share the weights' part of the scratch.
    constexpr int64_t kc = 64;
    float* left = reinterpret_cast<float*>(block);
    float* right = left + (kSlab + kMaxMr) * kc;
    static_assert(((2 * kSlab + kMaxMr) * kc + kMaxPanels * kGap) * 4 <= kWeightBytes);
    for (int64_t t0 = 0; t0 < n_tokens; t0 += kc) {
      const int64_t k = std::min(kc, n_tokens - t0);
      for (int64_t i = 0; i < round_up(rows, kernel.mr); ++i) {
        for (int64_t p = 0; p < k; ++p) left[i * kc + p] = i < rows ? narrow[(t0 + p) * m + i0 + i] : 0.0f;
      }
      decode_right(right, kernel, wide_rows, t0, k, k, j0, columns, temporary);
      for (int64_t j = 0; j < columns; j += kernel.nr) {
        for (int64_t i = 0; i < rows; i += kernel.mr) {
          kernel.tile(sums + i * ldc + j, ldc, left + i * kc, kc,
                      right + j / kernel.nr * right_panel<float>(kernel, k), k, t0 > 0);
        }
      }
    }
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        const int64_t at = turned ? (j0 + j) * n_in + i0 + i : (i0 + i) * n_in + j0 + j;
        dw[at] += scale * sums[i * ldc + j];
      }
    }
  });
}

}  // namespace lora
