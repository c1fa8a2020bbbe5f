#include "kernels/gemm/gemm.h"

#include <algorithm>
#include <cstring>
#include <vector>

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

// The tasks of all products. A product gets as many as its part of all tokens is.
struct AllSlabs {
  std::vector<Slabs> of;
  GroupedTasks tasks;
  int64_t work = 0;  // multiplications

  template <class Make>
  AllSlabs(std::span<const GemmProduct> products, int n_threads, const Make& make) {
    int64_t n_tokens = 0;
    for (const GemmProduct& product : products) n_tokens += product.terms[0].x.n_tokens;
    for (const GemmProduct& product : products) {
      const int64_t share = ceil_div(n_threads * product.terms[0].x.n_tokens, std::max<int64_t>(1, n_tokens));
      of.push_back(make(product.terms, int(std::max<int64_t>(1, share))));
      tasks.add(of.back().n_other * of.back().n_token_slabs);
      for (const GemmTerm& term : product.terms) work += term.x.n_tokens * term.w.n_rows * term.w.n_cols;
    }
  }
};

template <class T>
void forward(std::span<const GemmProduct> products, bool accumulate, const MicroKernel& kernel,
             GemmScratch& scratch, ThreadPool& pool) {
  const AllSlabs all(products, pool.n_active(), [&](std::span<const GemmTerm> terms, int n_threads) {
    return Slabs(terms[0].x.n_tokens, kernel.nr, terms[0].w.n_rows, kernel.mr, n_threads);
  });
  pool.run(all.tasks.total(), all.work, [&](int64_t number, int worker) {
    const auto [which, task] = all.tasks[number];
    const auto& [y, terms] = products[which];
    const Slabs& slabs = all.of[which];
    const int64_t n_tokens = terms[0].x.n_tokens, n_out = terms[0].w.n_rows;
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
void input_gradient(std::span<const GemmProduct> products, bool accumulate, const MicroKernel& kernel,
                    GemmScratch& scratch, ThreadPool& pool) {
  const AllSlabs all(products, pool.n_active(), [&](std::span<const GemmTerm> terms, int n_threads) {
    return Slabs(terms[0].x.n_tokens, kernel.mr, terms[0].w.n_cols, column_step(terms, kernel.nr), n_threads);
  });
  pool.run(all.tasks.total(), all.work, [&](int64_t number, int worker) {
    const auto [which, task] = all.tasks[number];
    const auto& [dx, terms] = products[which];
    const Slabs& slabs = all.of[which];
    const int64_t n_tokens = terms[0].x.n_tokens, n_in = terms[0].w.n_cols;
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

// Of a row in either packing, at most.
int64_t packed_row_bytes(GemmInput input, int64_t n_cols) {
  const MicroKernel& kernel = micro_kernel(input);
  const int64_t k_padded = round_up(n_cols, kernel.k_step), ldl = std::min<int64_t>(kernel.kc, k_padded);
  return round_up(k_padded, ldl) * (input == GemmInput::f32 ? 4 : 2);
}

// Groups' places in the storage, one behind the other.
void place_groups(PackedTokens* packed, std::byte* storage, std::span<const TokenRows> groups, int64_t n_cols,
                  GemmInput input) {
  const int64_t row_bytes = packed_row_bytes(input, n_cols);
  for (const TokenRows& group : groups) {
    *packed++ = {storage, group.n_rows, n_cols};
    storage += padded_rows(input, group.n_rows) * row_bytes;
  }
}

template <class T>
void pack_right(const PackedTokens* packed, std::span<const TokenRows> groups, float scale,
                const MicroKernel& kernel, ThreadPool& pool) {
  const int64_t nr = kernel.nr, n_cols = packed->n_cols, k_padded = round_up(n_cols, kernel.k_step);
  GroupedTasks panels;
  for (const TokenRows& group : groups) panels.add(ceil_div(group.n_rows, nr));
  pool.run(panels.total(), [&](int64_t task, int) {
    const auto [which, panel] = panels[task];
    const TokenRows& group = groups[which];
    const int64_t n_rows = std::min(nr, group.n_rows - panel * nr);
    const float* rows[kMaxNr];
    for (int64_t r = 0; r < n_rows; ++r) rows[r] = group.row(panel * nr + r, n_cols);
    auto* out = reinterpret_cast<T*>(const_cast<std::byte*>(packed[which].data));
    pack_panel(out + panel * nr * k_padded, rows, n_rows, n_cols, k_padded, nr, scale);
  });
}

template <class T>
void pack_left(const PackedTokens* packed, std::span<const TokenRows> groups, float scale,
               const MicroKernel& kernel, ThreadPool& pool) {
  constexpr int64_t kRows = 8;
  const int64_t n_cols = packed->n_cols;
  const int64_t k_padded = round_up(n_cols, kernel.k_step), ldl = std::min<int64_t>(kernel.kc, k_padded);
  GroupedTasks pieces;
  for (const TokenRows& group : groups) pieces.add(ceil_div(round_up(group.n_rows, kernel.mr), kRows));
  pool.for_range(pieces.total(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const auto [which, piece] = pieces[at];
      const TokenRows& group = groups[which];
      const int64_t padded_tokens = round_up(group.n_rows, kernel.mr);
      auto* to = reinterpret_cast<T*>(const_cast<std::byte*>(packed[which].data));
      for (int64_t t = piece * kRows; t < std::min((piece + 1) * kRows, padded_tokens); ++t) {
        for (int64_t k0 = 0; k0 < k_padded; k0 += ldl) {
          T* out = to + k0 * padded_tokens + t * ldl;
          const int64_t valid = t < group.n_rows ? std::clamp<int64_t>(n_cols - k0, 0, ldl) : 0;
          if (valid > 0) scale_row(out, group.row(t, n_cols) + k0, valid, scale);
          std::fill(out + valid, out + ldl, T{});
        }
      }
    }
  });
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
  if (precision == Precision::f32) return GemmInput::f32;
  return precision == Precision::bf16 || prefers_bf16() ? GemmInput::bf16 : GemmInput::f32;
}

int64_t packed_bytes(GemmInput input, int64_t n_tokens, int64_t n_cols) {
  return grouped_packed_bytes(input, padded_rows(input, n_tokens), n_cols);
}

GemmScratch::GemmScratch(int n_workers) : storage_(n_workers * bytes_per_worker()) {
  prefer_large_pages(storage_.data(), storage_.size());
}
int64_t GemmScratch::bytes_per_worker() {
  return 2 * kWeightBytes + kSumBytes + kRowBytes;
}

int64_t padded_rows(GemmInput input, int64_t n_rows) {
  const MicroKernel& kernel = micro_kernel(input);
  return std::max(round_up(n_rows, kernel.nr), round_up(n_rows, kernel.mr));
}

int64_t grouped_packed_bytes(GemmInput input, int64_t n_padded_rows, int64_t n_cols) {
  return n_padded_rows * packed_row_bytes(input, n_cols);
}

void pack_forward(PackedTokens* packed, std::byte* storage, std::span<const TokenRows> groups, int64_t n_cols,
                  float scale, GemmInput input, ThreadPool& pool) {
  const MicroKernel& kernel = micro_kernel(input);
  place_groups(packed, storage, groups, n_cols, input);
  const auto pack = input == GemmInput::f32 ? pack_right<float> : pack_right<bf16>;
  pack(packed, groups, scale, kernel, pool);
}

void pack_gradient(PackedTokens* packed, std::byte* storage, std::span<const TokenRows> groups,
                   int64_t n_cols, float scale, GemmInput input, ThreadPool& pool) {
  const MicroKernel& kernel = micro_kernel(input);
  place_groups(packed, storage, groups, n_cols, input);
  const auto pack = input == GemmInput::f32 ? pack_left<float> : pack_left<bf16>;
  pack(packed, groups, scale, kernel, pool);
}

PackedTokens pack_forward(std::byte* storage, const float* x, int64_t n_tokens, int64_t n_cols, float scale,
                          GemmInput input, ThreadPool& pool) {
  PackedTokens packed;
  const TokenRows rows = {x, nullptr, n_tokens};
  pack_forward(&packed, storage, {&rows, 1}, n_cols, scale, input, pool);
  return packed;
}

PackedTokens pack_gradient(std::byte* storage, const float* dy, int64_t n_tokens, int64_t n_cols, float scale,
                           GemmInput input, ThreadPool& pool) {
  PackedTokens packed;
  const TokenRows rows = {dy, nullptr, n_tokens};
  pack_gradient(&packed, storage, {&rows, 1}, n_cols, scale, input, pool);
  return packed;
}

void gemm_forward(std::span<const GemmProduct> products, bool accumulate, GemmInput input,
                  GemmScratch& scratch, ThreadPool& pool) {
  const auto multiply = input == GemmInput::f32 ? forward<float> : forward<bf16>;
  multiply(products, accumulate, micro_kernel(input), scratch, pool);
}

void gemm_input_gradient(std::span<const GemmProduct> products, bool accumulate, GemmInput input,
                         GemmScratch& scratch, ThreadPool& pool) {
  const auto multiply = input == GemmInput::f32 ? input_gradient<float> : input_gradient<bf16>;
  multiply(products, accumulate, micro_kernel(input), scratch, pool);
}

void gemm_forward(float* y, std::span<const GemmTerm> terms, bool accumulate, GemmInput input,
                  GemmScratch& scratch, ThreadPool& pool) {
  const GemmProduct product = {y, terms};
  gemm_forward({&product, 1}, accumulate, input, scratch, pool);
}

void gemm_input_gradient(float* dx, std::span<const GemmTerm> terms, bool accumulate, GemmInput input,
                         GemmScratch& scratch, ThreadPool& pool) {
  const GemmProduct product = {dx, terms};
  gemm_input_gradient({&product, 1}, accumulate, input, scratch, pool);
}

}  // namespace lora
