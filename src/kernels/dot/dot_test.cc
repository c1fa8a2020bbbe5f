// Every kernel set against the plain loops in double.
#include "kernels/dot/dot.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/machine.h"
#include "kernels/dot/dot_reference.h"
#include "kernels/dot/int8.h"
#include "kernels/dot/int8_reference.h"
#include "kernels/test_weights.h"

namespace lora {
namespace dot_test {

using namespace test;

constexpr float kBefore = 0.25f;  // what stands in y before

// Activations as int8 products see them.
struct Rounded {
  std::vector<int8_t> q;
  std::vector<float> d, sums, sums16;
  std::vector<float> values;  // d q

  explicit Rounded(std::span<const float> x) : q(x.size()), d(x.size() / 32), sums(d), sums16(2 * d.size()) {
    round_to_int8(q.data(), d.data(), sums.data(), sums16.data(), x.data(), int64_t(x.size()));
    for (size_t i = 0; i < d.size() * 32; ++i) values.push_back(d[i / 32] * float(q[i]));
  }
};

struct Case {
  Weights w;
  std::vector<float> x;
  std::vector<double> products;   // (n_tokens, n_out)
  std::vector<double> magnitude;  // what is rounded: the sums of absolute values
};

// For int8, x is rounded first. Codes without their minimums are larger than the values that they make, as
// when -8 .. 7 are stored as 0 .. 15: `magnitude` counts 4 largest weights for each.
Case make_case(Type type, int64_t n_tokens, int64_t n_out, int64_t n_in, uint64_t stream, DotInput input) {
  Case c{random_weights(type, n_out, n_in, stream), numbers(n_tokens * n_in, stream + 1), {}, {}};
  const bool rounds = input == DotInput::int8 && int8_dot(type) != nullptr;
  const auto x = cast<double>(rounds ? Rounded(c.x).values : c.x), abs_x = absolute(x);
  auto abs_w = absolute(c.w.values);
  if (rounds) abs_w.assign(abs_w.size(), 4 * *std::max_element(abs_w.begin(), abs_w.end()));
  for (int64_t t = 0; t < n_tokens; ++t) {
    for (int64_t o = 0; o < n_out; ++o) {
      c.products.push_back(dot_reference(&x[size_t(t * n_in)], &c.w.values[size_t(o * n_in)], n_in));
      c.magnitude.push_back(dot_reference(&abs_x[size_t(t * n_in)], &abs_w[size_t(o * n_in)], n_in));
    }
  }
  return c;
}

std::vector<float> run(const Case& c, int64_t n_tokens, DotInput input, bool accumulate, ThreadPool& pool) {
  std::vector<float> y(c.products.size(), kBefore);
  // What was there before must not matter: bytes that are NaN as floats.
  std::vector<std::byte> scratch(size_t(dot_scratch_bytes(n_tokens, c.w.view.n_cols)), std::byte{0xff});
  const DotProduct product = {y.data(), c.w.view, accumulate};
  dot_rows({&product, 1}, c.x.data(), n_tokens, input, scratch.data(), pool);
  return y;
}

TEST(Dot, AgreesWithTheReference) {
  uint64_t stream = 2000;
  ThreadPool pool(2);
  for (const TypeTraits& type : all_types()) {
    if (!type.decode) continue;
    for (DotInput input : {DotInput::f32, DotInput::int8}) {
      for (int64_t n_in : {1, 5, 31, 160, 256, 1000, 2048, 2304, 5000}) {
        const int64_t n_out = 19;
        n_in = (n_in + type.block_size - 1) / type.block_size * type.block_size;
        for (int64_t n_tokens : {int64_t{1}, int64_t{2}, kDotTokens}) {
          Case c = make_case(type.type, n_tokens, n_out, n_in, stream += 2, input);
          const std::string what = fmt::format("{} {}x{} {}", type.name, n_tokens, n_in, int(input));
          expect_close_sums(run(c, n_tokens, input, false, pool), c.products, c.magnitude, n_in, what);

          for (double& p : c.products) p += kBefore;
          for (double& m : c.magnitude) m += kBefore;
          expect_close_sums(run(c, n_tokens, input, true, pool), c.products, c.magnitude, n_in,
                            what + " added");
        }
      }
    }
  }
}

TEST(Dot, IntegersAgreeAtTheEndsOfTheirRange) {
  ThreadPool pool(1);
  for (const TypeTraits& type : all_types()) {
    if (!type.decode || !int8_dot(type.type)) continue;
    for (int bits : {0x00, 0xff, 0x80, 0x7f}) {
      for (float x : {1.0f, -1.0f}) {
        Case c = make_case(type.type, 1, 3, 512, 5, DotInput::int8);
        std::fill(c.w.bytes.begin(), c.w.bytes.end(), std::byte(bits));
        for (size_t at = 0; at < c.w.bytes.size(); at += size_t(type.block_bytes))
          set_scales(type.type, &c.w.bytes[at], 0.25f);
        c.x.assign(c.x.size(), x);
        for (int64_t o = 0; o < 3; ++o) {
          std::vector<float> w(512);
          decode_row(w.data(), c.w.view, o, 0, 512);
          c.products[size_t(o)] = x * dot_reference(w.data(), std::vector<float>(512, 1.0f).data(), 512);
        }
        expect_close_sums(run(c, 1, DotInput::int8, false, pool), c.products,
                          std::vector<double>(3, 4 * 512 * 4.0), 512,
                          fmt::format("{} {:x} {}", type.name, bits, x));
      }
    }
  }
}

#if defined(__x86_64__)
// Sums of codes are exact, and what is done with them is the same: so are the bits, whichever the CPU
// prefers.
TEST(Dot, IntegersOfAllX86FilesGiveTheSameBits) {
  const CpuFeatures& cpu = cpu_features();
  if (!cpu.avx2) return;
  std::vector<Int8Dot (*)(Type)> files = {avx2_int8_dot};
  if (cpu.avx_vnni) files.push_back(avx_vnni_int8_dot);
  if (cpu.avx512 && cpu.avx512_vnni) files.push_back(avx512_vnni_int8_dot);
  int n_types = 0;
  for (const TypeTraits& type : all_types()) {
    if (!avx2_int8_dot(type.type)) continue;
    ++n_types;
    for (const int64_t n : {int64_t{256}, int64_t{1024}, 1024 + type.block_size}) {
      const Weights w = random_weights(type.type, 3, n, 11);
      const Rounded x(numbers((n + 255) / 256 * 256, 12));
      for (int64_t o = 0; o < 3; ++o) {
        const Int8Row row = {x.q.data(), x.d.data(), x.sums.data(), x.sums16.data()};
        const auto values = cast<double>(x.values);
        const double want = dot_reference(values.data(), &w.values[size_t(o * n)], n);
        const float first = files[0](type.type)(w.view.row(o), row, n);
        EXPECT_NEAR(first, want, 1e-6 * double(n)) << type.name;
        for (const auto file : files) EXPECT_EQ(file(type.type)(w.view.row(o), row, n), first) << type.name;
      }
    }
  }
  EXPECT_GE(n_types, 23);
}
#endif

TEST(Dot, ProductsOfOneCallAreThoseOfMany) {
  ThreadPool pool(3);
  const int64_t n_in = 512;
  const std::vector<float> x = numbers(2 * n_in, 7);
  const Weights weights[] = {random_weights(Type::Q4_K, 700, n_in, 1), random_weights(Type::F32, 3, n_in, 2),
                             random_weights(Type::Q6_K, 1, n_in, 3),
                             random_weights(Type::Q8_0, 500, n_in, 4)};
  std::vector<std::byte> scratch(size_t(dot_scratch_bytes(2, n_in)));
  std::vector<std::vector<float>> together, apart;
  std::vector<DotProduct> products;
  for (const Weights& w : weights) {
    together.emplace_back(size_t(2 * w.view.n_rows), kBefore);
    apart.push_back(together.back());
    products.push_back({nullptr, w.view, w.view.n_rows == 1});
  }
  for (auto* ys : {&together, &apart}) {
    for (size_t i = 0; i < products.size(); ++i) products[i].y = (*ys)[i].data();
    if (ys == &together) dot_rows(products, x.data(), 2, DotInput::int8, scratch.data(), pool);
  }
  for (const DotProduct& product : products)
    dot_rows({&product, 1}, x.data(), 2, DotInput::int8, scratch.data(), pool);
  EXPECT_EQ(together, apart);
}

TEST(Dot, BitsDoNotDependOnThreads) {
  ThreadPool one(1), many(7);
  for (DotInput input : {DotInput::f32, DotInput::int8}) {
    const Case c = make_case(Type::Q8_0, 3, 1333, 640, 1, input);
    EXPECT_EQ(run(c, 3, input, false, one), run(c, 3, input, false, many));
  }
}

TEST(Dot, WhatIsNoNumberStaysNone) {
  ThreadPool pool(1);
  for (float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Case c = make_case(Type::Q8_0, 1, 5, 64, 1, DotInput::int8);
    c.x[40] = bad;
    for (float y : run(c, 1, DotInput::int8, false, pool)) EXPECT_FALSE(std::isfinite(y));
  }
}

TEST(RoundToInt8, IsOffByHalfAStepAtMost) {
  for (double range : {1e-40, 1e-20, 1e-3, 1.0, 1e20, 3e38}) {
    std::vector<float> x = numbers(32 * 64, 9, range);
    x.insert(x.end(), 32, 0.0f);
    const Rounded r(x);
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_LE(std::fabs(r.values[i] - x[i]), 0.5001f * r.d[i / 32] + 1e-30f) << range << ' ' << i;
    }
    for (size_t b = 0; b < r.d.size(); ++b) {
      int halves[2] = {};
      for (size_t i = 0; i < 32; ++i) halves[i / 16] += r.q[b * 32 + i];
      ASSERT_EQ(r.sums16[2 * b], r.d[b] * float(halves[0]));
      ASSERT_EQ(r.sums16[2 * b + 1], r.d[b] * float(halves[1]));
      ASSERT_EQ(r.sums[b], r.d[b] * float(halves[0] + halves[1]));
    }
  }
}

}  // namespace dot_test
}  // namespace lora
