// Every kernel set against the plain loops in double, over odd shapes.
// For bf16 the reference multiplies the rounded inputs: only the accumulation differs.
#include "kernels/gemm/gemm.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <tuple>
#include <vector>

#include "base/half.h"
#include "kernels/gemm/gemm_reference.h"
#include "kernels/gemm/peak.h"
#include "kernels/test_weights.h"

namespace lora {
namespace gemm_test {

using namespace test;

std::vector<double> as_input(const std::vector<float>& x, GemmInput input) {
  std::vector<double> v;
  for (float f : x) v.push_back(input == GemmInput::f32 ? f : to_f32(to_bf16(f)));
  return v;
}
std::vector<double> as_input(const std::vector<double>& x, GemmInput input) {
  return as_input(std::vector<float>(x.begin(), x.end()), input);
}

struct Shape {
  int64_t n_tokens, n_out, n_in;
};

// Around every blocking edge: micro-tiles (12, 32), slabs (96, 256, 480) and inner blocks (256, 512).
const Shape kShapes[] = {{5, 1, 1},      {5, 3, 2},      {13, 97, 5},   {31, 33, 31},  {32, 96, 256},
                         {33, 95, 257},  {7, 256, 96},   {64, 12, 513}, {481, 40, 33}, {17, 300, 600},
                         {100, 513, 64}, {6, 1030, 270}, {40, 5, 1100}, {970, 7, 11}};

class Gemm : public testing::TestWithParam<GemmInput> {};

TEST_P(Gemm, ForwardAndInputGradientAgreeWithTheReference) {
  const GemmInput input = GetParam();
  uint64_t stream = 100;
  for (int threads : {1, 3}) {
    ThreadPool pool(threads);
    GemmScratch scratch(threads);
    for (Type type : {Type::F32, Type::F16, Type::BF16, Type::Q8_0, Type::Q6_K, Type::NVFP4}) {
      for (Shape s : kShapes) {
        const int64_t block = traits(type).block_size;
        s.n_in = (s.n_in + block - 1) / block * block;
        const std::string what =
            fmt::format("{} {}x{}x{} threads {}", traits(type).name, s.n_tokens, s.n_out, s.n_in, threads);
        const Weights w = random_weights(type, s.n_out, s.n_in, ++stream);
        const auto rounded_w = as_input(w.values, input);
        Buffer<std::byte> storage(packed_bytes(input, s.n_tokens, std::max(s.n_in, s.n_out)));

        const auto x = numbers(s.n_tokens * s.n_in, ++stream);
        const auto rounded_x = as_input(x, input);
        std::vector<float> y(size_t(s.n_tokens * s.n_out), 0.5f);
        std::vector<double> want(y.begin(), y.end()), magnitude = want;
        gemm_forward_reference(want.data(), rounded_x.data(), rounded_w.data(), s.n_tokens, s.n_out, s.n_in);
        gemm_forward_reference(magnitude.data(), absolute(rounded_x).data(), absolute(rounded_w).data(),
                               s.n_tokens, s.n_out, s.n_in);
        const GemmTerm forward = {
            pack_forward(storage.data(), x.data(), s.n_tokens, s.n_in, 1.0f, input, pool), w.view};
        gemm_forward(y.data(), {&forward, 1}, true, input, scratch, pool);
        expect_close_sums(y, want, magnitude, s.n_in, "forward " + what);

        const auto dy = numbers(s.n_tokens * s.n_out, ++stream);
        const auto rounded_dy = as_input(dy, input);
        std::vector<float> dx(size_t(s.n_tokens * s.n_in), 7.0f);  // overwritten
        want.assign(dx.size(), 0);
        magnitude = want;
        gemm_input_gradient_reference(want.data(), rounded_dy.data(), rounded_w.data(), s.n_tokens, s.n_out,
                                      s.n_in);
        gemm_input_gradient_reference(magnitude.data(), absolute(rounded_dy).data(),
                                      absolute(rounded_w).data(), s.n_tokens, s.n_out, s.n_in);
        const GemmTerm backward = {
            pack_gradient(storage.data(), dy.data(), s.n_tokens, s.n_out, 1.0f, input, pool), w.view};
        gemm_input_gradient(dx.data(), {&backward, 1}, false, input, scratch, pool);
        expect_close_sums(dx, want, magnitude, s.n_out, "input gradient " + what);
      }
    }
  }
}

// The low-rank part: two terms with different inner dimensions, the second one scaled when packed.
TEST_P(Gemm, SumsTerms) {
  const GemmInput input = GetParam();
  ThreadPool pool(2);
  GemmScratch scratch(2);
  const int64_t n_tokens = 50, n_out = 70, n_in = 288;
  const Weights w = random_weights(Type::Q8_0, n_out, n_in, 1);
  for (int64_t rank : {1, 4, 7, 64}) {
    const Weights b = random_weights(Type::F32, n_out, rank, 2);
    const auto x = numbers(n_tokens * n_in, 3), low = numbers(n_tokens * rank, 4);
    auto scaled = low;
    for (float& f : scaled) f *= 0.75f;
    Buffer<std::byte> s1(packed_bytes(input, n_tokens, n_in)), s2(packed_bytes(input, n_tokens, rank));
    const GemmTerm terms[] = {
        {pack_forward(s1.data(), x.data(), n_tokens, n_in, 1.0f, input, pool), w.view},
        {pack_forward(s2.data(), low.data(), n_tokens, rank, 0.75f, input, pool), b.view}};
    std::vector<float> y(size_t(n_tokens * n_out));
    gemm_forward(y.data(), terms, false, input, scratch, pool);
    std::vector<double> want(y.size()), magnitude(y.size());
    for (const auto& [left, right, k] :
         {std::tuple{as_input(x, input), as_input(w.values, input), n_in},
          std::tuple{as_input(scaled, input), as_input(b.values, input), rank}}) {
      gemm_forward_reference(want.data(), left.data(), right.data(), n_tokens, n_out, k);
      gemm_forward_reference(magnitude.data(), absolute(left).data(), absolute(right).data(), n_tokens, n_out,
                             k);
    }
    expect_close_sums(y, want, magnitude, n_in + rank, fmt::format("rank {}", rank));
  }
}

// Experts: each with its own weights and its own rows of one array, in one loop; the bits are those of each
// alone.
TEST_P(Gemm, GroupsAreAsEachAlone) {
  const GemmInput input = GetParam();
  const int64_t n_out = 70, n_in = 288, n_x = 90;
  const auto x = numbers(n_x * n_in, 3), dy = numbers(n_x * n_out, 4);
  const std::vector<std::vector<int32_t>> rows = {
      {5}, {0, 2, 3, 89, 7}, std::vector<int32_t>(40, 11), {8, 9}};
  std::vector<Weights> weights;
  std::vector<TokenRows> of_x, of_dy;
  int64_t n_rows = 0, n_padded = 0;
  for (const auto& index : rows) {
    weights.push_back(random_weights(Type::Q8_0, n_out, n_in, 10 + weights.size()));
    of_x.push_back({x.data(), index.data(), int64_t(index.size())});
    of_dy.push_back({dy.data(), index.data(), int64_t(index.size())});
    n_rows += int64_t(index.size());
    n_padded += padded_rows(input, int64_t(index.size()));
  }
  const auto alone = [&](const float* from, const std::vector<int32_t>& index, int64_t n) {
    std::vector<float> gathered;
    for (const int32_t row : index) gathered.insert(gathered.end(), from + row * n, from + (row + 1) * n);
    return gathered;
  };
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    GemmScratch scratch(threads);
    std::vector<float> y(size_t(n_rows * n_out)), dx(size_t(n_rows * n_in));
    Buffer<std::byte> s1(grouped_packed_bytes(input, n_padded, n_in));
    Buffer<std::byte> s2(grouped_packed_bytes(input, n_padded, n_out));
    std::vector<PackedTokens> packed_x(4), packed_dy(4);
    pack_forward(packed_x.data(), s1.data(), of_x, n_in, 0.5f, input, pool);
    pack_gradient(packed_dy.data(), s2.data(), of_dy, n_out, 0.5f, input, pool);
    std::vector<GemmTerm> forward, backward;
    for (size_t g = 0; g < 4; ++g) {
      forward.push_back({packed_x[g], weights[g].view});
      backward.push_back({packed_dy[g], weights[g].view});
    }
    std::vector<GemmProduct> ys, dxs;
    int64_t row = 0;
    for (size_t g = 0; g < 4; row += int64_t(rows[g++].size())) {
      ys.push_back({y.data() + row * n_out, {&forward[g], 1}});
      dxs.push_back({dx.data() + row * n_in, {&backward[g], 1}});
    }
    gemm_forward(ys, false, input, scratch, pool);
    gemm_input_gradient(dxs, false, input, scratch, pool);
    row = 0;
    for (size_t g = 0; g < 4; row += int64_t(rows[g++].size())) {
      const auto n = int64_t(rows[g].size());
      const auto own_x = alone(x.data(), rows[g], n_in), own_dy = alone(dy.data(), rows[g], n_out);
      Buffer<std::byte> storage(packed_bytes(input, n, std::max(n_in, n_out)));
      std::vector<float> own_y(size_t(n * n_out)), own_dx(size_t(n * n_in));
      const GemmTerm f = {pack_forward(storage.data(), own_x.data(), n, n_in, 0.5f, input, pool),
                          weights[g].view};
      gemm_forward(own_y.data(), {&f, 1}, false, input, scratch, pool);
      const GemmTerm b = {pack_gradient(storage.data(), own_dy.data(), n, n_out, 0.5f, input, pool),
                          weights[g].view};
      gemm_input_gradient(own_dx.data(), {&b, 1}, false, input, scratch, pool);
      EXPECT_TRUE(std::equal(own_y.begin(), own_y.end(), y.begin() + row * n_out)) << g;
      EXPECT_TRUE(std::equal(own_dx.begin(), own_dx.end(), dx.begin() + row * n_in)) << g;
    }
  }
}

TEST_P(Gemm, BitsDoNotDependOnThreads) {
  const GemmInput input = GetParam();
  const int64_t n_tokens = 300, n_out = 200, n_in = 640;
  const Weights w = random_weights(Type::Q8_0, n_out, n_in, 5);
  const auto x = numbers(n_tokens * n_in, 6), dy = numbers(n_tokens * n_out, 7);
  std::vector<float> y[3], dx[3], dw[3];
  const int threads[] = {1, 2, 7};
  for (int i = 0; i < 3; ++i) {
    ThreadPool pool(threads[i]);
    GemmScratch scratch(threads[i]);
    Buffer<std::byte> storage(packed_bytes(input, n_tokens, n_in));
    y[i].resize(size_t(n_tokens * n_out));
    dx[i].resize(size_t(n_tokens * n_in));
    dw[i].resize(size_t(n_out * n_in));
    const GemmTerm forward = {pack_forward(storage.data(), x.data(), n_tokens, n_in, 1.0f, input, pool),
                              w.view};
    gemm_forward(y[i].data(), {&forward, 1}, false, input, scratch, pool);
    const GemmTerm backward = {pack_gradient(storage.data(), dy.data(), n_tokens, n_out, 1.0f, input, pool),
                               w.view};
    gemm_input_gradient(dx[i].data(), {&backward, 1}, false, input, scratch, pool);
    gemm_weight_gradient(dw[i].data(), dy.data(), x.data(), n_tokens, n_out, n_in, 0.5f, pool);
    EXPECT_EQ(y[i], y[0]);
    EXPECT_EQ(dx[i], dx[0]);
    EXPECT_EQ(dw[i], dw[0]);
  }
}

INSTANTIATE_TEST_SUITE_P(Inputs, Gemm, testing::Values(GemmInput::f32, GemmInput::bf16),
                         [](const auto& p) { return p.param == GemmInput::f32 ? "f32" : "bf16"; });

TEST(GemmWeightGradient, AgreesWithTheReferenceOnBothSides) {
  uint64_t stream = 1000;
  for (int threads : {1, 2}) {
    ThreadPool pool(threads);
    for (const Shape& s :
         {Shape{1, 1, 1}, Shape{300, 4, 700}, Shape{129, 700, 4}, Shape{77, 100, 97}, Shape{5, 130, 33}}) {
      const auto dy = numbers(s.n_tokens * s.n_out, ++stream), x = numbers(s.n_tokens * s.n_in, ++stream);
      std::vector<float> dw(size_t(s.n_out * s.n_in), 1.0f);
      gemm_weight_gradient(dw.data(), dy.data(), x.data(), s.n_tokens, s.n_out, s.n_in, 0.5f, pool);
      std::vector<double> want(dw.size()), magnitude(dw.size());
      const auto dyd = as_input(dy, GemmInput::f32), xd = as_input(x, GemmInput::f32);
      gemm_weight_gradient_reference(want.data(), dyd.data(), xd.data(), s.n_tokens, s.n_out, s.n_in);
      gemm_weight_gradient_reference(magnitude.data(), absolute(dyd).data(), absolute(xd).data(), s.n_tokens,
                                     s.n_out, s.n_in);
      for (size_t i = 0; i < want.size(); ++i) {
        want[i] = 1 + 0.5 * want[i];
        magnitude[i] += 1;
      }
      expect_close_sums(dw, want, magnitude, s.n_tokens,
                        fmt::format("{}x{}x{}", s.n_tokens, s.n_out, s.n_in));
    }
  }
}

// A processor that other programs share is at its peak in no round as a whole.
TEST(GemmPeak, IsOfEachThreadsBestRound) {
  const std::vector<std::vector<double>> rounds = {{1, 4}, {3, 2}, {2, 2}};
  EXPECT_DOUBLE_EQ(best_rate(10, rounds), 10 + 5);
}

}  // namespace gemm_test
}  // namespace lora
