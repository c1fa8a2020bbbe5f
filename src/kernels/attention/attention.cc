#include "kernels/attention/attention.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/attention/attention_reference.h"
#include "kernels/attention/few_queries.h"
#include "kernels/attention/passes.h"
#include "kernels/isa.h"

namespace lora {
namespace {

int64_t longest(std::span<const AttentionSegment> segments) {
  int64_t n = 0;
  for (const AttentionSegment& s : segments) n = std::max(n, s.n_kv);
  return n;
}

// A segment's heads, and pieces of each, as tasks.
struct Tasks {
  int64_t n_segments, n_heads, n_pieces;
  int64_t size() const { return n_segments * n_heads * n_pieces; }
  int64_t segment(int64_t task) const { return task / n_pieces / n_heads; }
  int64_t head(int64_t task) const { return task / n_pieces % n_heads; }
  int64_t piece(int64_t task) const { return task % n_pieces; }
};

// Heads in one piece where that keeps all threads busy: each piece packs keys and values anew.
Tasks share_out(std::span<const AttentionSegment> segments, int64_t n_heads, int n_threads) {
  const int64_t n = std::max<int64_t>(1, int64_t(segments.size()) * n_heads), wanted = n_threads;
  return {int64_t(segments.size()), n_heads, n >= wanted ? 1 : (2 * wanted + n - 1) / n};
}

template <class T>
void forward(const ForwardPass& pass, std::span<const AttentionSegment> segments, std::byte* scratch,
             int64_t scratch_bytes, ThreadPool& pool) {
  const Tasks tasks = share_out(segments, pass.shape.n_head_kv, pool.n_active());
  pool.run(tasks.size(), tasks.n_segments * tasks.n_heads, [&](int64_t task, int worker) {
    const UnitGuard guard(pass.tile.kernel);
    forward_blocks<T>(pass, segments[size_t(tasks.segment(task))], tasks.head(task), tasks.piece(task),
                      tasks.n_pieces, scratch + worker * scratch_bytes);
  });
}

template <class T>
void backward(const BackwardPass& pass, std::span<const AttentionSegment> segments, std::byte* scratch,
              int64_t scratch_bytes, ThreadPool& pool) {
  const Tasks tasks = share_out(segments, pass.shape.n_head_kv, pool.n_active());
  const auto run = [&](BackwardPart part) {
    pool.run(tasks.size(), tasks.n_segments * tasks.n_heads, [&](int64_t task, int worker) {
      const UnitGuard guard(pass.tile.kernel);
      backward_tiles<T>(pass, segments[size_t(tasks.segment(task))], tasks.head(task), part,
                        tasks.piece(task), tasks.n_pieces, scratch + worker * scratch_bytes);
    });
  };
  if (tasks.n_pieces == 1) return run(BackwardPart::all);
  // Tiles are computed twice, so that each output has one writer. The sums, and so the bits, are the same.
  // Keys first: dq may take the place of out.
  run(BackwardPart::keys);
  run(BackwardPart::queries);
}

int64_t checked_scratch(std::span<const std::byte> scratch, int64_t needed) {
  if (int64_t(scratch.size()) < needed) {
    fail("attention: scratch of {} bytes, {} are needed", scratch.size(), needed);
  }
  return needed;
}

void run_forward(const ForwardPass& pass, std::span<const AttentionSegment> segments, GemmInput input,
                 std::span<std::byte> scratch, ThreadPool& pool) {
  const int64_t needed = attention_scratch_bytes(pass.shape, longest(segments), false, input, pool.size());
  const int64_t bytes = checked_scratch(scratch, needed) / pool.size();
  input == GemmInput::f32 ? forward<float>(pass, segments, scratch.data(), bytes, pool)
                          : forward<bf16>(pass, segments, scratch.data(), bytes, pool);
}

void check_cache(const MatrixView& cache, int64_t dim, bool is_wider,
                 std::span<const AttentionSegment> segments, const AttentionShape& shape) {
  const TypeTraits& type = traits(cache.type);
  if (!type.decode) fail("attention: a cache of type {}: holds no numbers that can be decoded", type.name);
  if (is_wider ? cache.n_cols < dim : cache.n_cols != shape.n_head_kv * dim) {
    fail("attention: cache rows of {} numbers, {} heads of {} are needed", cache.n_cols, shape.n_head_kv,
         dim);
  }
  if (cache.n_cols % type.block_size != 0) {
    fail("attention: cache rows of {} numbers: type {} holds blocks of {}", cache.n_cols, type.name,
         type.block_size);
  }
  if (KvRows::block_floats(dim) > kTile * kTile) {  // as forward.cc has room for
    fail("attention: heads of {} numbers: too large for a cache", dim);
  }
  if (longest(segments) > cache.n_rows) {
    fail("attention: a segment of {} keys, the cache has {} rows", longest(segments), cache.n_rows);
  }
}

}  // namespace

int64_t attention_scratch_bytes(const AttentionShape& shape, int64_t n_kv, bool backward, GemmInput input,
                                int n_workers) {
  const TileShape tile(micro_kernel(input), shape.head_dim), v_tile(micro_kernel(input), shape.v_dim());
  if (backward) return n_workers * backward_bytes(tile, v_tile, n_kv, input);
  return n_workers * std::max(forward_bytes(tile, v_tile, n_kv, input), few_queries_bytes(shape));
}

void attention_forward(float* out, float* lse, const float* q, const float* k, const float* v,
                       std::span<const AttentionSegment> segments, const AttentionShape& shape,
                       GemmInput input, std::span<std::byte> scratch, ThreadPool& pool) {
  if (isa() == Isa::scalar) {
    return pool.run(int64_t(segments.size()) * shape.n_head, [&](int64_t task, int) {
      const AttentionSegment& s = segments[size_t(task / shape.n_head)];
      for (int64_t i = 0; i < s.n_q; ++i) {
        attention_forward_reference(out, lse, q, k, v, s, shape, task % shape.n_head, i);
      }
    });
  }
  const MicroKernel& kernel = micro_kernel(input);
  const int64_t n = shape.n_head_kv, dim = shape.head_dim, v_dim = shape.v_dim();
  run_forward({out, lse, q, {k, n, dim}, {v, n, v_dim}, shape, {kernel, dim}, {kernel, v_dim}, false},
              segments, input, scratch, pool);
}

void attention_forward(float* out, const float* q, const MatrixView& k, const MatrixView& v,
                       std::span<const AttentionSegment> segments, const AttentionShape& shape,
                       GemmInput input, std::span<std::byte> scratch, ThreadPool& pool) {
  const int64_t dim = shape.head_dim, v_dim = shape.v_dim();
  const bool v_is_k = v.data == k.data && v.type == k.type && v.n_cols == k.n_cols && shape.n_head_kv == 1;
  check_cache(k, dim, false, segments, shape);
  check_cache(v, v_dim, v_is_k, segments, shape);
  if (isa() == Isa::scalar) {
    if (pool.is_dry()) return;  // the plain loops are not the pool's
    return attention_cache_reference<float>(out, q, k, v, segments, shape);
  }
  const MicroKernel& kernel = micro_kernel(input);
  run_forward({out, nullptr, q, {k, dim}, {v, v_dim}, shape, {kernel, dim}, {kernel, v_dim}, v_is_k},
              segments, input, scratch, pool);
}

void attention_backward(float* dq, float* dk, float* dv, const float* dout, const float* out,
                        const float* lse, const float* q, const float* k, const float* v,
                        std::span<const AttentionSegment> segments, const AttentionShape& shape,
                        GemmInput input, std::span<std::byte> scratch, ThreadPool& pool) {
  if (isa() == Isa::scalar) {
    return pool.run(int64_t(segments.size()) * shape.n_head_kv, [&](int64_t task, int) {
      attention_backward_reference(dq, dk, dv, dout, out, lse, q, k, v,
                                   segments[size_t(task / shape.n_head_kv)], shape, task % shape.n_head_kv);
    });
  }
  const MicroKernel& kernel = micro_kernel(input);
  const BackwardPass pass{
      dq, dk, dv, dout, out, lse, q, k, v, shape, {kernel, shape.head_dim}, {kernel, shape.v_dim()}};
  const int64_t bytes =
      checked_scratch(scratch, attention_scratch_bytes(shape, longest(segments), true, input, pool.size())) /
      pool.size();
  input == GemmInput::f32 ? backward<float>(pass, segments, scratch.data(), bytes, pool)
                          : backward<bf16>(pass, segments, scratch.data(), bytes, pool);
}

}  // namespace lora
