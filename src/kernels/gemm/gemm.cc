#include "kernels/gemm/gemm.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "kernels/gemm/micro_kernel.h"
#include "kernels/isa.h"

namespace lora {
namespace {

// A slab of the output is one task. Sizes keep a task's weights and sums in a 2 MB L2; all are
// multiples of every kernel's mr and nr.
constexpr int64_t kSlabRows = 96;      // forward: weight rows
constexpr int64_t kSlabColumns = 256;  // gradients: weight columns; no quant block crosses it
constexpr int64_t kSlabTokens = 480;
static_assert(kSlabRows % 12 == 0 && kSlabRows % kMaxMr == 0 && kSlabTokens % 12 == 0 && kSlabTokens % kMaxMr == 0);

constexpr int64_t kWeightBytes = kSlabColumns * std::max<int64_t>(kMaxKc * 2, 256 * 4);
constexpr int64_t kSumBytes = kSlabTokens * kSlabColumns * 4;
constexpr int64_t kRowBytes = 2 * kMaxKc * 4;

int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
int64_t ceil_div(int64_t n, int64_t d) { return (n + d - 1) / d; }

void convert(float* out, const float* in, int64_t n, float scale) {
  for (int64_t i = 0; i < n; ++i) out[i] = in[i] * scale;
}
void convert(bf16* out, const float* in, int64_t n, float scale) {
  for (int64_t i = 0; i < n; ++i) out[i] = to_bf16(in[i] * scale);
}

// What a worker's scratch holds.
struct Parts {
  std::byte* weights;  // L or R block of weights
  float* sums;         // the task's output
  float* rows;         // decoded rows before interleaving, 2 x kMaxKc
};
Parts parts(GemmScratch& scratch, int worker) {
  std::byte* p = scratch.worker(worker);
  return {p, reinterpret_cast<float*>(p + kWeightBytes), reinterpret_cast<float*>(p + kWeightBytes + kSumBytes)};
}

// Tokens per task: as many as fit, fewer where that leaves threads idle.
int64_t tokens_per_slab(int64_t n_tokens, int64_t other_slabs, int64_t step, int n_threads) {
  int64_t tokens = std::min(kSlabTokens, round_up(n_tokens, step));
  while (other_slabs * ceil_div(n_tokens, tokens) < 2 * n_threads && tokens > step) {
    tokens = round_up(tokens / 2, step);
  }
  return tokens;
}

struct UnitGuard {  // the unit's per-task setup
  const MicroKernel& kernel;
  explicit UnitGuard(const MicroKernel& k) : kernel(k) {
    if (kernel.begin) kernel.begin();
  }
  ~UnitGuard() {
    if (kernel.end) kernel.end();
  }
};

// out[i][0..n) of element type T <- rows of W, columns [k0, k0 + k), zero up to k_padded.
template <class T>
void decode_left(T* out, int64_t ldl, const MatrixView& w, int64_t row, int64_t n_rows, int64_t k0, int64_t k,
                 int64_t k_padded, float* temporary) {
  for (int64_t i = 0; i < n_rows; ++i, out += ldl) {
    if constexpr (sizeof(T) == 4) {
      decode_row(out, w, row + i, k0, k0 + k);
    } else {
      decode_row(temporary, w, row + i, k0, k0 + k);
      convert(out, temporary, k, 1.0f);
    }
    std::fill(out + k, out + k_padded, T{});
  }
}

// Panels [j / nr][k / pair][nr][pair] <- W's rows [row, row + k), columns [j0, j0 + n).
template <class T>
void decode_right(T* out, const MicroKernel& kernel, const MatrixView& w, int64_t row, int64_t k, int64_t k_padded,
                  int64_t j0, int64_t n, float* temporary) {
  const int64_t nr = kernel.nr, pair = kernel.pair, n_padded = round_up(n, nr);
  for (int64_t p = 0; p < k_padded; p += pair) {
    for (int64_t q = 0; q < pair; ++q) {
      float* values = temporary + q * kMaxKc;
      if (p + q < k) {
        decode_row(values, w, row + p + q, j0, j0 + n);
      } else {
        std::fill(values, values + n, 0.0f);
      }
      std::fill(values + n, values + n_padded, 0.0f);
    }
    for (int64_t j = 0; j < n_padded; j += nr) {
      T* panel = out + j * k_padded + p * nr;
      if constexpr (sizeof(T) == 4) {
        std::memcpy(panel, temporary + j, size_t(nr) * 4);
      } else {
        for (int64_t lane = 0; lane < nr; ++lane) {
          panel[2 * lane] = to_bf16(temporary[j + lane]);
          panel[2 * lane + 1] = to_bf16(temporary[kMaxKc + j + lane]);
        }
      }
    }
  }
}

void store(float* out, float sum, bool accumulate) { *out = accumulate ? *out + sum : sum; }

template <class T>
void forward(float* y, std::span<const GemmTerm> terms, bool accumulate, const MicroKernel& kernel,
             GemmScratch& scratch, ThreadPool& pool) {
  const int64_t n_tokens = terms[0].x.n_tokens, n_out = terms[0].w.n_rows;
  const int64_t row_slabs = ceil_div(n_out, kSlabRows);
  const int64_t slab_tokens = tokens_per_slab(n_tokens, row_slabs, kernel.nr, pool.size());
  const int64_t token_slabs = ceil_div(n_tokens, slab_tokens);
  pool.run(row_slabs * token_slabs, [&](int64_t task, int worker) {
    const auto [block, sums, temporary] = parts(scratch, worker);
    const UnitGuard guard(kernel);
    const int64_t o0 = task % row_slabs * kSlabRows, rows = std::min(kSlabRows, n_out - o0);
    const int64_t t0 = task / row_slabs * slab_tokens, tokens = std::min(slab_tokens, n_tokens - t0);
    const int64_t ldc = round_up(tokens, kernel.nr);
    bool first = true;
    for (const GemmTerm& term : terms) {
      const int64_t k_total = term.w.n_cols, k_padded = round_up(k_total, kernel.k_step);
      for (int64_t k0 = 0; k0 < k_total; k0 += kernel.kc) {
        const int64_t k = std::min<int64_t>(kernel.kc, k_total - k0), kp = round_up(k, kernel.k_step);
        T* left = reinterpret_cast<T*>(block);
        decode_left(left, kernel.kc, term.w, o0, rows, k0, k, kp, temporary);
        for (int64_t i = rows; i < round_up(rows, kernel.mr); ++i) {
          std::fill(left + i * kernel.kc, left + i * kernel.kc + kp, T{});
        }
        for (int64_t t = 0; t < tokens; t += kernel.nr) {
          const T* right =
              reinterpret_cast<const T*>(term.x.data) + (t0 + t) * k_padded + k0 * kernel.nr;
          for (int64_t i = 0; i < rows; i += kernel.mr) {
            kernel.tile(sums + i * ldc + t, ldc, left + i * kernel.kc, kernel.kc, right, kp, !first);
          }
        }
        first = false;
      }
    }
    // sums is (rows, tokens): turn it in blocks that stay in L1.
    for (int64_t tb = 0; tb < tokens; tb += 16) {
      for (int64_t ob = 0; ob < rows; ob += 16) {
        for (int64_t t = tb; t < std::min(tb + 16, tokens); ++t) {
          float* out = y + (t0 + t) * n_out + o0;
          for (int64_t o = ob; o < std::min(ob + 16, rows); ++o) store(out + o, sums[o * ldc + t], accumulate);
        }
      }
    }
  });
}

template <class T>
void input_gradient(float* dx, std::span<const GemmTerm> terms, bool accumulate, const MicroKernel& kernel,
                    GemmScratch& scratch, ThreadPool& pool) {
  const int64_t n_tokens = terms[0].x.n_tokens, n_in = terms[0].w.n_cols;
  const int64_t column_slabs = ceil_div(n_in, kSlabColumns);
  const int64_t slab_tokens = tokens_per_slab(n_tokens, column_slabs, kernel.mr, pool.size());
  const int64_t token_slabs = ceil_div(n_tokens, slab_tokens);
  pool.run(column_slabs * token_slabs, [&](int64_t task, int worker) {
    const auto [block, sums, temporary] = parts(scratch, worker);
    const UnitGuard guard(kernel);
    const int64_t i0 = task % column_slabs * kSlabColumns, columns = std::min(kSlabColumns, n_in - i0);
    const int64_t t0 = task / column_slabs * slab_tokens, tokens = std::min(slab_tokens, n_tokens - t0);
    const int64_t ldc = round_up(columns, kernel.nr), padded_tokens = round_up(n_tokens, kernel.mr);
    bool first = true;
    for (const GemmTerm& term : terms) {
      const int64_t k_total = term.w.n_rows;
      const int64_t ldl = std::min<int64_t>(kernel.kc, round_up(k_total, kernel.k_step));
      for (int64_t k0 = 0; k0 < k_total; k0 += kernel.kc) {
        const int64_t k = std::min<int64_t>(kernel.kc, k_total - k0), kp = round_up(k, kernel.k_step);
        T* right = reinterpret_cast<T*>(block);
        decode_right(right, kernel, term.w, k0, k, kp, i0, columns, temporary);
        const T* left =
            reinterpret_cast<const T*>(term.x.data) + k0 / kernel.kc * padded_tokens * ldl + t0 * ldl;
        for (int64_t j = 0; j < columns; j += kernel.nr) {
          for (int64_t t = 0; t < tokens; t += kernel.mr) {
            kernel.tile(sums + t * ldc + j, ldc, left + t * ldl, ldl, right + j * kp, kp, !first);
          }
        }
        first = false;
      }
    }
    for (int64_t t = 0; t < tokens; ++t) {
      float* out = dx + (t0 + t) * n_in + i0;
      for (int64_t i = 0; i < columns; ++i) store(out + i, sums[t * ldc + i], accumulate);
    }
  });
}

template <class T>
PackedTokens pack_right(std::byte* storage, const float* x, int64_t n_tokens, int64_t n_cols, float scale,
                        const MicroKernel& kernel, ThreadPool& pool) {
  const int64_t nr = kernel.nr, pair = kernel.pair, k_padded = round_up(n_cols, kernel.k_step);
  pool.run(ceil_div(n_tokens, nr), [&](int64_t panel, int) {
    T* out = reinterpret_cast<T*>(storage) + panel * nr * k_padded;
    for (int64_t lane = 0; lane < nr; ++lane) {
      const int64_t t = panel * nr + lane;
      const float* row = x + t * n_cols;
      for (int64_t k = 0; k < k_padded; ++k) {
        const float value = t < n_tokens && k < n_cols ? row[k] * scale : 0.0f;
        convert(out + k / pair * nr * pair + lane * pair + k % pair, &value, 1, 1.0f);
      }
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
        convert(out, dy + t * n_cols + k0, valid, scale);
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
    if (isa() == Isa::amx && which == GemmInput::bf16) return amx_micro_kernel();
    return simd_micro_kernel(which);
  };
  static const MicroKernel kernels[] = {choose(GemmInput::f32), choose(GemmInput::bf16)};
  return kernels[int(input)];
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
int64_t GemmScratch::bytes_per_worker() { return kWeightBytes + kSumBytes + kRowBytes; }

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
  const int64_t row_slabs = ceil_div(m, kSlabRows);
  int64_t width = kSlabColumns;
  while (width > kMaxNr && row_slabs * ceil_div(n, width) < 2 * pool.size()) width /= 2;
  const int64_t column_slabs = ceil_div(n, width);
  pool.run(row_slabs * column_slabs, [&](int64_t task, int worker) {
    const auto [block, sums, temporary] = parts(scratch, worker);
    const UnitGuard guard(kernel);
    const int64_t i0 = task / column_slabs * kSlabRows, rows = std::min(kSlabRows, m - i0);
    const int64_t j0 = task % column_slabs * width, columns = std::min(width, n - j0);
    const int64_t ldc = round_up(columns, kernel.nr);
    // Both blocks share the weights' part of the scratch: 96 x 128 and 128 x 256 floats.
    constexpr int64_t kc = 128;
    float* left = reinterpret_cast<float*>(block);
    float* right = left + kSlabRows * kc;
    static_assert((kSlabRows + kSlabColumns) * kc * 4 <= kWeightBytes);
    for (int64_t t0 = 0; t0 < n_tokens; t0 += kc) {
      const int64_t k = std::min(kc, n_tokens - t0);
      for (int64_t i = 0; i < round_up(rows, kernel.mr); ++i) {
        for (int64_t p = 0; p < k; ++p) left[i * kc + p] = i < rows ? narrow[(t0 + p) * m + i0 + i] : 0.0f;
      }
      decode_right(right, kernel, f32_matrix(wide, n_tokens, n), t0, k, k, j0, columns, temporary);
      for (int64_t j = 0; j < columns; j += kernel.nr) {
        for (int64_t i = 0; i < rows; i += kernel.mr) {
          kernel.tile(sums + i * ldc + j, ldc, left + i * kc, kc, right + j * k, k, t0 > 0);
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
