#include "kernels/gemm/pack.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <vector>

#include "base/random.h"
#include "kernels/gemm/pack_reference.h"
#include "kernels/isa.h"

namespace lora {
namespace pack_test {

// Any bits: numbers, infinities, NaN and, but for bf16 instructions, denormals.
std::vector<float> any_floats(uint64_t stream, int64_t n) {
  std::vector<float> v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) {
    v[i] = std::bit_cast<float>(uint32_t(random_bits(1, Purpose::test, stream, i)));
    if (has_avx512_bf16() && std::fpclassify(v[i]) == FP_SUBNORMAL) v[i] = 0;
  }
  // One of each kind, whatever was drawn.
  constexpr float kinds[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 3.3895e38f, 1.00390625f, 1.01171875f};
  for (size_t i = 0; i < std::min(v.size(), std::size(kinds)); ++i) v[v.size() - 1 - i] = kinds[i];
  return v;
}

std::vector<uint16_t> bits(const std::vector<bf16>& v) {
  std::vector<uint16_t> result;
  for (bf16 b : v) result.push_back(b.bits);
  return result;
}

TEST(Pack, RoundsToTheBitsOfThePlainConversion) {
  for (int64_t n : {0, 1, 7, 16, 31, 32, 33, 1000}) {
    const auto x = any_floats(uint64_t(n), n);
    std::vector<bf16> got(x.size()), want(x.size());
    scale_row(got.data(), x.data(), n, 1.0f);
    scale_row_reference(want.data(), x.data(), n, 1.0f);
    EXPECT_EQ(bits(got), bits(want)) << n;
  }
}

TEST(Pack, InterleavesRowsIntoPanels) {
  for (int64_t nr : {8, 16, 32}) {
    const int64_t n = 3 * nr, stride = 5 * nr;
    std::vector<bf16> a(static_cast<size_t>(n)), b(a);
    scale_row_reference(a.data(), any_floats(1, n).data(), n, 1.0f);
    scale_row_reference(b.data(), any_floats(2, n).data(), n, 1.0f);
    std::vector<uint32_t> got(size_t(3 * stride), 7), want = got;
    interleave_rows(got.data(), stride, a.data(), b.data(), n, nr);
    interleave_rows_reference(want.data(), stride, a.data(), b.data(), n, nr);
    EXPECT_EQ(got, want) << nr;
  }
}

TEST(Pack, TransposesAnyShape) {
  for (int64_t rows : {1, 3, 4, 9, 32}) {
    for (int64_t cols : {1, 2, 4, 7, 96}) {
      const int64_t ld_in = cols + 3, ld_out = rows + 1;
      std::vector<uint32_t> in(size_t(rows * ld_in));
      for (size_t i = 0; i < in.size(); ++i) in[i] = uint32_t(i);
      std::vector<uint32_t> got(size_t(cols * ld_out), 1u << 31), want = got;
      transpose(got.data(), ld_out, in.data(), ld_in, rows, cols);
      transpose_reference(want.data(), ld_out, in.data(), ld_in, rows, cols);
      EXPECT_EQ(got, want) << rows << " x " << cols;
    }
  }
}

}  // namespace pack_test
}  // namespace lora
