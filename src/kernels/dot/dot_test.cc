// Every kernel set against the plain loops in double.
#include "kernels/dot/dot.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernels/dot/dot_reference.h"
#include "kernels/test_weights.h"

namespace lora {
namespace {

using namespace test;

constexpr float kBefore = 0.25f;  // what stands in y before

struct Case {
  Weights w;
  std::vector<float> x;
  std::vector<double> products;   // (n_tokens, n_out)
  std::vector<double> magnitude;  // the sums of absolute values
};

Case make_case(Type type, int64_t n_tokens, int64_t n_out, int64_t n_in, uint64_t stream) {
  Case c{random_weights(type, n_out, n_in, stream), numbers(n_tokens * n_in, stream + 1), {}, {}};
  const auto x = cast<double>(c.x), abs_x = absolute(x), abs_w = absolute(c.w.values);
  for (int64_t t = 0; t < n_tokens; ++t) {
    for (int64_t o = 0; o < n_out; ++o) {
      c.products.push_back(dot_reference(&x[size_t(t * n_in)], &c.w.values[size_t(o * n_in)], n_in));
      c.magnitude.push_back(dot_reference(&abs_x[size_t(t * n_in)], &abs_w[size_t(o * n_in)], n_in));
    }
  }
  return c;
}

TEST(Dot, AgreesWithTheReference) {
  uint64_t stream = 2000;
  ThreadPool pool(2);
  for (Type type : {Type::F32, Type::F16, Type::BF16, Type::Q8_0, Type::Q6_K}) {
    for (int64_t n_in : {1, 5, 31, 256, 1000, 2048, 2304, 5000}) {
      const int64_t block = traits(type).block_size, n_out = 19;
      n_in = (n_in + block - 1) / block * block;
      for (int64_t n_tokens = 1; n_tokens <= kDotTokens; ++n_tokens) {
        Case c = make_case(type, n_tokens, n_out, n_in, stream += 2);
        const std::string what = fmt::format("{} {}x{}", traits(type).name, n_tokens, n_in);
        std::vector<float> y(c.products.size(), kBefore);
        dot_rows(y.data(), c.x.data(), c.w.view, n_tokens, false, pool);
        expect_close_sums(y, c.products, c.magnitude, n_in, what);

        for (double& p : c.products) p += kBefore;
        for (double& m : c.magnitude) m += kBefore;
        y.assign(y.size(), kBefore);
        dot_rows(y.data(), c.x.data(), c.w.view, n_tokens, true, pool);
        expect_close_sums(y, c.products, c.magnitude, n_in, what + " added");
      }
    }
  }
}

TEST(Dot, BitsDoNotDependOnThreads) {
  const int64_t n_tokens = 3, n_out = 333, n_in = 640;
  const Case c = make_case(Type::Q8_0, n_tokens, n_out, n_in, 1);
  std::vector<float> one(c.products.size()), many(c.products.size());
  ThreadPool alone(1), pool(7);
  dot_rows(one.data(), c.x.data(), c.w.view, n_tokens, false, alone);
  dot_rows(many.data(), c.x.data(), c.w.view, n_tokens, false, pool);
  EXPECT_EQ(one, many);
}

}  // namespace
}  // namespace lora
