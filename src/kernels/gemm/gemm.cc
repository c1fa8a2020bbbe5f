#include "kernels/gemm/gemm.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "base/large_pages.h"
#include "kernels/gemm/micro_kernel.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm/weight_block.h"
#include "kernels/isa.h"

namespace lora {
namespace {

// A slab of the output is one task: at most kTokenSlab x kSlab, so that its sums, two blocks of decoded
// weights and a block of activations stay in the second-level cache together (bf16: 1024, 2 x 256 and 256
// KB).
constexpr int64_t kMaxPanels = kSlab / 8;
constexpr int64_t kWeightBytes = ((kSlab + kMaxMr) * kMaxKc + kMaxPanels * kGap) * 4;
constexpr int64_t kSumBytes = ((kTokenSlab + kMaxNr) * (kSlab + kMaxMr) + kMaxPanels * kGap) * 4;
constexpr int64_t kRowBytes = 2 * kSlab * 4;

// What a worker's scratch holds.
struct Parts {
  std::byte* weights[2];  // blocks in use and being decoded
  float* sums;  // the task's output: panels of nr columns, [panel][row][nr], so that a tile is one piece
  float* rows;  // decoded rows before they are rounded and interleaved
};
Parts parts(GemmScratch& scratch, int worker) {
  std::byte* p = scratch.worker(worker);
  return {{p, p + kWeightBytes},
          reinterpret_cast<float*>(p + 2 * kWeightBytes),
          reinterpret_cast<float*>(p + 2 * kWeightBytes + kSumBytes)};
}

// n cut into equal pieces of at most `most`, each a multiple of `step`.
int64_t piece_size(int64_t n, int64_t step, int64_t most, int64_t n_pieces = 1) {
  n_pieces = std::max(n_pieces, ceil_div(n, most));
  return std::min(round_up(ceil_div(n, n_pieces), step), most / step * step);
}

// How an output of n_tokens x n_other is cut into tasks: both sides in pieces, at least two tasks for each
// thread where there is enough to cut. Cutting tokens decodes weights again, so the other side is cut first.
struct Slabs {
  int64_t tokens, other;           // per task
  int64_t n_token_slabs, n_other;  // tasks along each side

  Slabs(int64_t n_tokens, int64_t token_step, int64_t n_other_total, int64_t other_step, int n_threads) {
    tokens = piece_size(n_tokens, token_step, kTokenSlab);
    n_token_slabs = ceil_div(n_tokens, tokens);
    const int64_t wanted = n_threads == 1 ? 1 : 2 * n_threads;
    // A multiple of the number of threads, so that all end together.
    const int64_t pieces =
        round_up(ceil_div(std::max(wanted, ceil_div(n_other_total, kSlab)), n_token_slabs), n_threads);
    other = piece_size(n_other_total, other_step, kSlab, pieces);
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

// Runs the products of all blocks: tile(block, weights, i, j) for i in [0, n_outer) and j in [0, n_inner),
// with the next block's weights decoded between them. Block is LeftBlock or RightBlock, make(data, at) makes
// one.
template <class Block, class Make, class Tile>
void for_each_block(InnerBlock at, const Parts& parts, int64_t n_outer, int64_t n_inner, const Make& make,
                    const Tile& tile) {
  Block current = make(parts.weights[0], at);
  current.advance(current.steps());
  for (int64_t turn = 1;; ++turn) {
    const InnerBlock ahead = at.next();
    if (ahead.is_end()) {
      for (int64_t i = 0; i < n_outer; ++i) {
        for (int64_t j = 0; j < n_inner; ++j) tile(at, current, i, j);
      }
      return;
    }
    Block next = make(parts.weights[turn % 2], ahead);
    const double per_tile = double(next.steps()) / double(n_outer * n_inner);
    double due = 0;
    for (int64_t i = 0; i < n_outer; ++i) {
      for (int64_t j = 0; j < n_inner; ++j) {
        tile(at, current, i, j);
        next.advance(int64_t(due += per_tile));
      }
    }
    next.advance(next.steps());
    current = next;
    at = ahead;
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
    const Parts p = parts(scratch, worker);
    const UnitGuard guard(kernel);
    const int64_t o0 = task % slabs.n_other * slabs.other, rows = std::min(slabs.other, n_out - o0);
    const int64_t t0 = task / slabs.n_other * slabs.tokens, tokens = std::min(slabs.tokens, n_tokens - t0);
    const int64_t padded_rows = round_up(rows, kernel.mr), mr = kernel.mr, nr = kernel.nr;
    for_each_block<LeftBlock<T>>(
        {terms, false, kernel.kc, kernel.k_step}, p, ceil_div(tokens, nr), padded_rows / mr,
        [&](std::byte* data, const InnerBlock& at) {
          return LeftBlock<T>(reinterpret_cast<T*>(data), p.rows, kernel, at, o0, rows);
        },
        [&](const InnerBlock& at, const LeftBlock<T>& left, int64_t panel, int64_t row_tile) {
          const int64_t t = panel * nr, i = row_tile * mr;
          const T* right = reinterpret_cast<const T*>(at.get().x.data) +
                           (t0 + t) * round_up(at.total(), kernel.k_step) + at.k0 * nr;
          kernel.tile(p.sums + t * padded_rows + i * nr, nr, left.data() + i * kernel.kc, kernel.kc, right,
                      at.k_padded(), !at.is_first());
        });
    // A panel is (rows, nr tokens): turned some tokens at a time, in the first-level cache.
    constexpr int64_t kTurned = 8;
    alignas(64) float turned[kTurned * kSlab];
    for (int64_t tb = 0; tb < tokens; tb += kTurned) {
      const int64_t n = std::min(kTurned, tokens - tb);
      const float* panel = p.sums + tb / nr * nr * padded_rows + tb % nr;
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
    const Parts p = parts(scratch, worker);
    const UnitGuard guard(kernel);
    const int64_t i0 = task % slabs.n_other * slabs.other, columns = std::min(slabs.other, n_in - i0);
    const int64_t t0 = task / slabs.n_other * slabs.tokens, tokens = std::min(slabs.tokens, n_tokens - t0);
    const int64_t padded_tokens = round_up(n_tokens, kernel.mr), mr = kernel.mr, nr = kernel.nr;
    const int64_t panel_size = round_up(tokens, mr) * nr + kGap;
    for_each_block<RightBlock<T>>(
        {terms, true, kernel.kc, kernel.k_step}, p, ceil_div(columns, nr), ceil_div(tokens, mr),
        [&](std::byte* data, const InnerBlock& at) {
          return RightBlock<T>(reinterpret_cast<T*>(data), p.rows, kernel, at, i0, columns);
        },
        [&](const InnerBlock& at, const RightBlock<T>& right, int64_t panel, int64_t token_tile) {
          const int64_t j = panel * nr, t = token_tile * mr;
          const int64_t ldl = std::min<int64_t>(kernel.kc, round_up(at.total(), kernel.k_step));
          const T* left = reinterpret_cast<const T*>(at.get().x.data) +
                          at.k0 / kernel.kc * padded_tokens * ldl + (t0 + t) * ldl;
          kernel.tile(p.sums + panel * panel_size + t * nr, nr, left, ldl, right.panel(j), at.k_padded(),
                      !at.is_first());
        });
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t j = 0; j < columns; j += nr) {
        store_row(dx + (t0 + t) * n_in + i0 + j, p.sums + j / nr * panel_size + t * nr,
                  std::min(nr, columns - j), accumulate);
      }
    }
  });
}

template <class T>
PackedTokens pack_right(std::byte* storage, const float* x, int64_t n_tokens, int64_t n_cols, float scale,
                        const MicroKernel& kernel, ThreadPool& pool) {
  const int64_t nr = kernel.nr, k_padded = round_up(n_cols, kernel.k_step);
  pool.run(ceil_div(n_tokens, nr), [&](int64_t panel, int) {
    pack_panel(reinterpret_cast<T*>(storage) + panel * nr * k_padded, x + panel * nr * n_cols, n_cols,
               n_tokens - panel * nr, n_cols, k_padded, nr, scale);
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

GemmScratch::GemmScratch(int n_workers) : storage_(n_workers * bytes_per_worker()) {
  prefer_large_pages(storage_.data(), storage_.size());
}
int64_t GemmScratch::bytes_per_worker() {
  return 2 * kWeightBytes + kSumBytes + kRowBytes;
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

}  // namespace lora
