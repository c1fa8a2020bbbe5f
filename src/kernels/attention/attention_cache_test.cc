// Attention over keys and values as a cache holds them.
#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/attention/attention_cases.h"
#include "kernels/attention/cache.h"
#include "kernels/encode/encode.h"

namespace lora {
namespace attention_cache_test {

using namespace attention_test;
using test::numbers, test::zeros;

struct Cache {
  // Rows of numbers, and what is left of them in the type, (n_rows, n_cols).
  Cache(Type type, int64_t n_rows, int64_t n_cols, uint64_t stream) : view{type, nullptr, n_rows, n_cols} {
    const auto values = numbers(n_rows * n_cols, stream, kRange);
    bytes.resize(size_t(n_rows * view.row_bytes()));
    view.data = bytes.data();
    decoded.resize(values.size());
    for (int64_t r = 0; r < n_rows; ++r) {
      find_encoder(type)(bytes.data() + r * view.row_bytes(), values.data() + r * n_cols, n_cols, nullptr);
      decode_row(decoded.data() + r * n_cols, view, r, 0, n_cols);
    }
  }
  // The decoded rows from `first` on, in the order of a ring.
  std::vector<float> from(int64_t first, int64_t n) const {
    std::vector<float> result;
    for (int64_t j = 0; j < n; ++j) {
      const auto row = decoded.begin() + (first + j) % view.n_rows * view.n_cols;
      result.insert(result.end(), row, row + view.n_cols);
    }
    return result;
  }
  std::vector<std::byte> bytes;
  std::vector<float> decoded;
  MatrixView view;
};

void from_cache(std::vector<float>& out, const std::vector<float>& q, const Cache& k, const Cache& v,
                const Segments& segments, const AttentionShape& shape, GemmInput input, ThreadPool& pool) {
  auto scratch = scratch_for(segments, shape, false, input, pool);
  attention_forward(out.data(), q.data(), k.view, v.view, segments, shape, input, scratch.span(), pool);
}

class AttentionCache : public testing::TestWithParam<GemmInput> {};
INSTANTIATE_TEST_SUITE_P(Inputs, AttentionCache, testing::ValuesIn(kInputs),
                         [](const auto& at) { return at.param == GemmInput::f32 ? "f32" : "bf16"; });

// Of one query, of few, of a prompt with a past; from the first row on, and around the end of a ring. Heads
// of 80 begin in the middle of blocks of 32, heads of 6 also end there. The decoded rows as arrays give the
// same bits.
TEST_P(AttentionCache, SameBitsAsTheDecodedRows) {
  const struct {
    int64_t n_head, n_head_kv, head_dim, n_rows, value_dim;
  } shapes[] = {{4, 2, 64, 300, 64},
                {2, 2, 80, 301, 80},
                {16, 16, 6, 299, 6},
                {8, 1, 128, 300, 128},
                {4, 2, 48, 300, 32}};
  const AttentionSegment segments[] = {{0, 1, 0, 1},     {0, 1, 0, 300},     {0, 3, 7, 200},
                                       {0, 1, 250, 150}, {0, 2, 299, 129},   {0, 50, 0, 50},
                                       {0, 100, 0, 250}, {0, 100, 200, 196}, {0, 97, 298, 299}};
  ThreadPool pool(2);
  for (const auto& [n_head, n_head_kv, head_dim, n_rows, value_dim] : shapes) {
    for (const Type type : {Type::F32, Type::F16, Type::BF16, Type::Q8_0}) {
      const Cache k(type, n_rows, n_head_kv * head_dim, 1), v(type, n_rows, n_head_kv * value_dim, 2);
      for (const AttentionSegment& s : segments) {
        if (s.n_kv > n_rows) continue;
        AttentionShape shape{n_head, n_head_kv, head_dim, 0.3f, s.n_kv > 100 ? 98 : 0};
        shape.value_dim = value_dim;
        const auto q = numbers(s.n_q * n_head * head_dim, 3);
        auto out = zeros(s.n_q * n_head * value_dim), want = out;
        from_cache(out, q, k, v, {s}, shape, GetParam(), pool);
        const auto k_rows = k.from(s.kv_begin, s.n_kv), v_rows = v.from(s.kv_begin, s.n_kv);
        forward(want.data(), nullptr, q.data(), k_rows.data(), v_rows.data(), {{0, s.n_q, 0, s.n_kv}}, shape,
                pool, GetParam());
        ASSERT_EQ(out, want) << traits(type).name << ", head_dim " << head_dim << ", " << s.n_q
                             << " queries, rows from " << s.kv_begin << ", " << s.n_kv << " keys";
      }
    }
  }
}

// One key head, whose values are the first numbers of its keys: the same bits as where they lie apart.
TEST_P(AttentionCache, ValuesAreTheFirstNumbersOfKeys) {
  const struct {
    int64_t n_head, head_dim, value_dim;
  } shapes[] = {{6, 96, 64}, {4, 40, 32}, {3, 33, 7}, {16, 576, 512}};
  const int64_t n_rows = 300;
  ThreadPool pool(2);
  for (const auto& [n_head, head_dim, value_dim] : shapes) {
    for (const Type type : {Type::F32, Type::F16, Type::Q8_0}) {
      if (head_dim % traits(type).block_size != 0) continue;
      const Cache k(type, n_rows, head_dim, 1);
      for (const AttentionSegment& s : {AttentionSegment{0, 1, 0, 1}, AttentionSegment{0, 3, 250, 150},
                                        AttentionSegment{0, 1, 0, 300}, AttentionSegment{0, 100, 200, 196}}) {
        AttentionShape shape{n_head, 1, head_dim, 0.3f};
        shape.value_dim = value_dim;
        const auto q = numbers(s.n_q * n_head * head_dim, 3);
        auto out = zeros(s.n_q * n_head * value_dim), want = out;
        from_cache(out, q, k, k, {s}, shape, GetParam(), pool);
        const auto k_rows = k.from(s.kv_begin, s.n_kv);
        std::vector<float> v_rows;
        for (int64_t j = 0; j < s.n_kv; ++j) {
          const auto row = k_rows.begin() + j * head_dim;
          v_rows.insert(v_rows.end(), row, row + value_dim);
        }
        forward(want.data(), nullptr, q.data(), k_rows.data(), v_rows.data(), {{0, s.n_q, 0, s.n_kv}}, shape,
                pool, GetParam());
        ASSERT_EQ(out, want) << traits(type).name << ", " << head_dim << " and " << value_dim << ", " << s.n_q
                             << " queries, rows from " << s.kv_begin << ", " << s.n_kv << " keys";
      }
    }
  }
}

// Keys in one type and values in another, against the plain version in double.
TEST_P(AttentionCache, MatchesReference) {
  ThreadPool pool(3);
  const AttentionShape shape{4, 2, 64, 0.125f};
  const Cache k(Type::Q8_0, 400, 128, 1), v(Type::F16, 400, 128, 2);
  for (const AttentionSegment& s : {AttentionSegment{0, 2, 100, 270}, AttentionSegment{0, 120, 350, 390}}) {
    const auto q = numbers(s.n_q * 256, 3, kRange);
    auto out = zeros(s.n_q * 256);
    from_cache(out, q, k, v, {s}, shape, GetParam(), pool);
    auto want = zeros<double>(s.n_q * 256);
    const Segments segments = {s};
    attention_cache_reference(want.data(), test::cast<double>(q).data(), k.view, v.view,
                              std::span<const AttentionSegment>(segments), shape);
    const double error = kRange * score_error(shape, GetParam());  // of values below 2
    test::expect_close(
        out, want, [&](int64_t) { return error; }, std::to_string(s.n_q) + " queries");
  }
}

// Tokens come in batches and one by one; the cache holds a window and a batch, or everything. Every token's
// output is that of the whole text at once.
TEST_P(AttentionCache, BatchesAfterBatchesAreTheWholeText) {
  const int64_t n_ctx = 260, n_batch = 100, n_head = 4, n_head_kv = 2, head_dim = 32;
  const std::vector<int64_t> batches = {60, 1, 2, 100, 3, 1, 1, 1, 4, 87};
  ThreadPool pool(2);
  const auto q = numbers(n_ctx * n_head * head_dim, 1, kRange), k = numbers(n_ctx * n_head_kv * head_dim, 2),
             v = numbers(n_ctx * n_head_kv * head_dim, 3);
  for (const int64_t window : {0, 1, 20, 110}) {
    const AttentionShape shape{n_head, n_head_kv, head_dim, 0.2f, window};
    const int64_t n_rows = cache_rows(n_ctx, n_batch, window), n_cols = n_head_kv * head_dim;
    MatrixView k_cache{Type::F16, nullptr, n_rows, n_cols}, v_cache{Type::Q8_0, nullptr, n_rows, n_cols};
    // Not a number, until it is written.
    std::vector<std::byte> k_bytes(size_t(n_rows * k_cache.row_bytes()), std::byte{0xff});
    std::vector<std::byte> v_bytes(size_t(n_rows * v_cache.row_bytes()), std::byte{0xff});
    k_cache.data = k_bytes.data();
    v_cache.data = v_bytes.data();
    auto out = zeros(int64_t(q.size())), want = out, lse = zeros(n_ctx * n_head), k_all = k, v_all = v;
    int64_t n_past = 0;
    for (const int64_t n : batches) {
      const int64_t at = n_past * n_cols;
      cache_write(k_bytes.data(), k_cache, n_past, k.data() + at, n, pool);
      cache_write(v_bytes.data(), v_cache, n_past, v.data() + at, n, pool);
      for (int64_t r = 0; r < n; ++r) {
        decode_row(k_all.data() + at + r * n_cols, k_cache, (n_past + r) % n_rows, 0, n_cols);
        decode_row(v_all.data() + at + r * n_cols, v_cache, (n_past + r) % n_rows, 0, n_cols);
      }
      const Segments segments = {cache_segment(n_past, n, n_past, window, n_rows)};
      auto scratch = scratch_for(segments, shape, false, GetParam(), pool);
      attention_forward(out.data(), q.data(), k_cache, v_cache, segments, shape, GetParam(), scratch.span(),
                        pool);
      n_past += n;
    }
    ASSERT_EQ(n_past, n_ctx);
    forward(want.data(), lse.data(), q.data(), k_all.data(), v_all.data(), packed({n_ctx}), shape, pool,
            GetParam());
    const double error = 2 * score_error(shape, GetParam());
    test::expect_close(
        out, want, [&](int64_t) { return error; }, "window " + std::to_string(window));
  }
}

TEST(CacheSize, CacheThatDoesNotFitIsAnError) {
  ThreadPool pool(1);
  const AttentionShape shape{2, 1, 48, 1};
  const auto q = numbers(96, 1);
  auto out = zeros(96);
  const Cache f16(Type::F16, 10, 48, 1), narrow(Type::F16, 10, 32, 1);
  const auto message = [&](const MatrixView& k, const AttentionSegment& s) -> std::string {
    try {
      const Segments segments = {s};
      auto scratch = scratch_for(segments, shape, false, GemmInput::f32, pool);
      attention_forward(out.data(), q.data(), k, f16.view, segments, shape, GemmInput::f32, scratch.span(),
                        pool);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(message(f16.view, {0, 1, 9, 10}), "");
  EXPECT_EQ(message(f16.view, {0, 1, 0, 11}), "attention: a segment of 11 keys, the cache has 10 rows");
  EXPECT_EQ(message(narrow.view, {0, 1, 0, 1}),
            "attention: cache rows of 32 numbers, 1 heads of 48 are needed");
  EXPECT_EQ(message({Type::Q8_0, f16.bytes.data(), 10, 48}, {0, 1, 0, 1}),
            "attention: cache rows of 48 numbers: type Q8_0 holds blocks of 32");
  EXPECT_EQ(message({Type::I8, f16.bytes.data(), 10, 48}, {0, 1, 0, 1}),
            "attention: a cache of type I8: holds no numbers that can be decoded");
}

}  // namespace attention_cache_test
}  // namespace lora
