// Against plain loops in double over activations that were rounded before.
#include "kernels/gemm_int8/gemm_int8.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/machine.h"
#include "kernels/dot/int8.h"
#include "kernels/gemm/gemm_reference.h"
#include "kernels/gemm_int8/gemm_int8_test_util.h"
#include "kernels/gemm_int8/int8_codes.h"
#include "kernels/gemm_int8/tile.h"
#include "kernels/isa.h"
#include "kernels/test_weights.h"

namespace lora {
namespace gemm_int8_test {

using namespace test;

constexpr float kBefore = 0.25f;  // what stands in y before

// What the kernel set multiplies: prompts of one byte, and in training what it says.
std::vector<TokenBytes> all_bytes() {
  if (int8_training().bytes == TokenBytes::one) return {TokenBytes::one};
  return {TokenBytes::one, TokenBytes::two};
}

std::vector<float> run(const Weights& w, const std::vector<float>& x, TokenBytes bytes, bool accumulate,
                       ThreadPool& pool) {
  const int64_t n_in = w.view.n_cols, n_tokens = int64_t(x.size()) / n_in;
  std::vector<float> y(size_t(n_tokens * w.view.n_rows), kBefore);
  std::vector<std::byte> storage(size_t(int8_tokens_bytes(n_tokens, n_in, bytes)));
  GemmScratch scratch(pool.size());
  const TokenRows rows = {x.data(), nullptr, n_tokens};
  const std::vector<Int8Tokens> tokens = round_tokens(storage.data(), {&rows, 1}, n_in, bytes, pool);
  const Int8Product product = {y.data(), w.view, &tokens[0]};
  gemm_int8({&product, 1}, accumulate, scratch, pool);
  return y;
}

std::vector<double> rounded(const std::vector<float>& x, int64_t n_in, TokenBytes bytes) {
  ThreadPool pool(1);
  const int64_t n_tokens = int64_t(x.size()) / n_in;
  std::vector<std::byte> storage(size_t(int8_tokens_bytes(n_tokens, n_in, bytes)));
  const TokenRows rows = {x.data(), nullptr, n_tokens};
  const Int8Tokens tokens = round_tokens(storage.data(), {&rows, 1}, n_in, bytes, pool)[0];
  std::vector<double> values(x.size());
  for (int64_t t = 0; t < n_tokens; ++t) {
    const int64_t tile = t / tokens.width * tokens.width * n_in, lane = t % tokens.width;
    for (int64_t i = 0; i < n_in; ++i) {
      const float d = tokens.d[tile / 32 + i / 32 * tokens.width + lane];
      const int64_t at = tile + (i / 4 * tokens.width + lane) * 4 + i % 4;
      values[size_t(t * n_in + i)] =
          double(d) * (tokens.low ? tokens.q[at] * 256 + tokens.low[at] : tokens.q[at]);
    }
  }
  return values;
}

std::vector<Type> types() {
  std::vector<Type> result;
  for (const TypeTraits& type : all_types()) {
    if (has_int8_gemm(type.type)) result.push_back(type.type);
  }
  return result;
}

class GemmInt8 : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_int8_gemm()) GTEST_SKIP() << "no products in 8-bit integers";
  }
};

// Without this a lost dispatch would make all of the tests below skip.
TEST(GemmInt8Types, AreThoseThatHaveCodes) {
  const CpuFeatures& cpu = cpu_features();
  const bool has_kernels =
      isa() == Isa::scalar || isa() == Isa::avx2 || (isa() == Isa::neon ? cpu.neon_dot : cpu.avx512_vnni);
  EXPECT_EQ(has_int8_gemm(), has_kernels);
  for (const TypeTraits& type : all_types()) {
    const bool has_product = has_kernels && scalar_int8_codes(type.type).unpack;
    EXPECT_EQ(has_int8_gemm(type.type), has_product) << type.name;
    // Prompts are rounded where single tokens are.
    EXPECT_EQ(prefers_int8_gemm(type.type, 8), has_product && int8_dot(type.type)) << type.name;
  }
  if (!has_kernels) return;
  const bool in_16_bits = isa() == Isa::avx2 && !has_avx_vnni();
  EXPECT_EQ(int8_training().bytes, in_16_bits ? TokenBytes::one : TokenBytes::two);
}

// Of every file, also those that the CPU does not prefer: codes with their scales are the weights.
TEST(Int8Codes, AreTheWeights) {
  const CpuFeatures& cpu = cpu_features();
  std::vector<Int8Codes (*)(Type)> files = {scalar_int8_codes};
  if (cpu.avx2) files.push_back(avx2_int8_codes);
  if (cpu.avx_vnni) files.push_back(avx_vnni_int8_codes);
  if (cpu.avx512 && cpu.avx512_vnni) files.push_back(avx512_vnni_int8_codes);
  if (cpu.neon_dot) files.push_back(neon_int8_codes);
  for (const TypeTraits& type : all_types()) {
    if (!scalar_int8_codes(type.type).unpack) continue;
    const int64_t n = 512 + (type.block_size < 256 ? type.block_size : 0);
    const Weights w = random_weights(type.type, 1, n, 21);
    for (const auto file : files) {
      const Int8Codes format = file(type.type);
      ASSERT_NE(format.unpack, nullptr) << type.name;
      std::vector<uint8_t> codes(size_t(n) + 1, 123);
      std::vector<float> scales(size_t(n / format.group) + 1, 123), minimums(scales);
      format.unpack(codes.data(), scales.data(), minimums.data(), w.bytes.data(), n);
      for (size_t i = 0; i < size_t(n); ++i) {
        const int code = format.max_code == 0 ? int8_t(codes[i]) : codes[i];
        const size_t g = i / size_t(format.group);
        const float value = scales[g] * float(code - format.offset);
        ASSERT_LE(code, format.max_code == 0 ? 127 : format.max_code);
        ASSERT_EQ(format.has_minimums ? value - minimums[g] : value, float(w.values[i])) << type.name << i;
      }
      EXPECT_EQ(codes.back(), 123) << type.name << ": written past the end";
      EXPECT_EQ(scales.back(), 123.0f) << type.name << ": written past the end";
    }
  }
}

// Of every file, also those that the CPU does not prefer.
TEST(Int8Tiles, HaveTheBitsOfPlainLoops) {
  const CpuFeatures& cpu = cpu_features();
  struct File {
    bool is_there;
    Int8TileKernel multiply;
    int max_code;  // of those for which the file has loops of their own the largest: 0 is signed
    bool has_low = false;
  };
  const File files[] = {{cpu.avx2, int8_tile_avx2, 0},
                        {cpu.avx2, int8_tile_avx2, 16},
                        {cpu.avx2, int8_tile_avx2, 32},
                        {cpu.avx2, int8_tile_avx2, 64},
                        {cpu.avx2, int8_tile_avx2, 129},
                        {cpu.avx_vnni, int8_tile_avx_vnni, 255},
                        {cpu.avx_vnni, int8_tile_avx_vnni, 255, true},
                        {cpu.avx512 && cpu.avx512_vnni, int8_tile_avx512_vnni, 255},
                        {cpu.avx512 && cpu.avx512_vnni, int8_tile_avx512_vnni, 255, true},
                        {cpu.neon_dot, int8_tile_neon, 0},
                        {cpu.neon_dot, int8_tile_neon, 0, true},
                        {cpu.neon_dot, int8_tile_neon, 127},
                        {cpu.neon_dot, int8_tile_neon, 127, true}};
  constexpr int64_t k = 192;
  const auto bits = [](uint64_t stream, int64_t i) {
    return random_bits(4, Purpose::test, stream, uint64_t(i));
  };
  for (const auto& [is_there, multiply, max_code, has_low] : files) {
    for (int width = 1; is_there && width <= kInt8TileTokens; ++width) {
      for (const int64_t group : {16, 32, 64}) {
        for (const bool has_minimums : {false, true}) {
          if (has_minimums && group == 64) continue;
          std::vector<uint8_t> codes(size_t(k * 32));
          std::vector<int8_t> q(size_t(k * width)), low(q);
          for (size_t i = 0; i < codes.size(); ++i)
            codes[i] = uint8_t(max_code == 0 ? int(bits(1, int64_t(i)) % 255) - 127
                                             : int(bits(1, int64_t(i)) % uint64_t(max_code + 1)));
          for (size_t i = 0; i < q.size(); ++i) {
            q[i] = int8_t(int(bits(2, int64_t(i)) % 255) - 127);
            low[i] = int8_t(bits(9, int64_t(i)));
          }
          // One row of the largest codes and a token of the largest activations: sums of 16 bits are full.
          for (int64_t i = 0; i < k; ++i) {
            codes[size_t(i / 4 * 128 + i % 4)] = uint8_t(max_code == 0 ? 127 : max_code);
            const auto at = size_t(i / 4 * 4 * width + i % 4);
            q[at] = i < k / 2 ? 127 : -127;
            low[at] = i < k / 2 ? 127 : -128;
          }
          const std::vector<float> scales = numbers(k / group * 32, 3), minimums = numbers(k / group * 32, 4),
                                   d = numbers(k / 32 * width, 5), products = numbers(k / group * width, 6),
                                   before = numbers(width * 40, 7);
          std::vector<int32_t> starts;
          for (int64_t i = 0; i < k / group * width; ++i)
            starts.push_back(has_minimums ? 0 : int32_t(bits(8, i) % (1 << 29)) - (1 << 28));
          for (const bool accumulate : {false, true}) {
            std::vector<float> sums = before, want = before;
            using Call = std::pair<Int8TileKernel, std::vector<float>*>;
            for (const auto& [kernel, y] : {Call{multiply, &sums}, Call{int8_tile_scalar, &want}}) {
              kernel({codes.data(), scales.data(), has_minimums ? minimums.data() : nullptr, q.data(),
                      has_low ? low.data() : nullptr, d.data(), starts.data(), products.data(), width,
                      y->data(), 40, k, accumulate},
                     int(group), max_code);
            }
            EXPECT_EQ(sums, want) << max_code << ", " << width << " tokens, groups of " << group;
          }
        }
      }
    }
  }
}

// Codes without offsets and minimums are larger than the values that they make: each counts as 4 largest
// weights, and as signed codes stored with 128 added, as 16.
void expect_products(const Weights& w, const std::vector<float>& x, TokenBytes bytes, bool accumulate,
                     ThreadPool& pool) {
  const int64_t n_in = w.view.n_cols, n_out = w.view.n_rows, n_tokens = int64_t(x.size()) / n_in;
  const std::vector<double> values = rounded(x, n_in, bytes);
  std::vector<double> abs_w = absolute(w.values);
  abs_w.assign(abs_w.size(), 4 * *std::max_element(abs_w.begin(), abs_w.end()));
  std::vector<double> want(size_t(n_tokens * n_out)), magnitude(want);
  gemm_forward_reference(want.data(), values.data(), w.values.data(), n_tokens, n_out, n_in);
  gemm_forward_reference(magnitude.data(), absolute(values).data(), abs_w.data(), n_tokens, n_out, n_in);
  for (double& v : want) v += accumulate ? kBefore : 0;
  expect_close_sums(run(w, x, bytes, accumulate, pool), want, magnitude, n_in,
                    fmt::format("{} {}x{}x{}", traits(w.view.type).name, n_tokens, n_out, n_in));
}

// Experts: each with its own weights and rows, in one loop; the bits are those of each alone.
TEST_F(GemmInt8, GroupsAreAsEachAlone) {
  ThreadPool pool(2);
  GemmScratch scratch(2);
  const int64_t n_out = 70, n_in = 512;
  const auto x = numbers(60 * n_in, 3);
  const std::vector<std::vector<int32_t>> rows = {{5}, {0, 2, 3, 59, 7, 7, 8}, std::vector<int32_t>(40, 11)};
  std::vector<TokenRows> groups;
  std::vector<Weights> weights;
  int64_t n_rows = 0;
  for (const auto& index : rows) {
    groups.push_back({x.data(), index.data(), int64_t(index.size())});
    weights.push_back(random_weights(Type::Q4_K, n_out, n_in, 10 + weights.size()));
    n_rows += int64_t(index.size());
  }
  const TokenBytes bytes = int8_training().bytes;
  std::vector<std::byte> storage(size_t(int8_tokens_bytes(n_rows, n_in, bytes)));
  const std::vector<Int8Tokens> tokens = round_tokens(storage.data(), groups, n_in, bytes, pool);
  std::vector<float> y(size_t(n_rows * n_out));
  std::vector<Int8Product> products;
  int64_t row = 0;
  for (size_t g = 0; g < 3; row += int64_t(rows[g++].size()))
    products.push_back({y.data() + row * n_out, weights[g].view, &tokens[g]});
  gemm_int8(products, false, scratch, pool);
  row = 0;
  for (size_t g = 0; g < 3; row += int64_t(rows[g++].size())) {
    std::vector<float> own;
    for (const int32_t at : rows[g])
      own.insert(own.end(), &x[size_t(at * n_in)], &x[size_t(at * n_in)] + n_in);
    const std::vector<float> want = run(weights[g], own, bytes, false, pool);
    EXPECT_TRUE(std::equal(want.begin(), want.end(), y.begin() + row * n_out)) << g;
  }
}

TEST_F(GemmInt8, AgreesWithTheReference) {
  ThreadPool pool(2);
  uint64_t stream = 100;
  for (const Type type : types()) {
    for (int64_t n_in : {32, 96, 192, 256, 512, 800, 1088, 2304, 3072}) {
      if (n_in % traits(type).block_size != 0) continue;
      // The edges of tiles are the same in long rows, whose reference takes the time.
      const bool is_long = n_in > 512;
      for (int64_t n_out : is_long ? std::vector<int64_t>{15, 16} : std::vector<int64_t>{1, 15, 16, 83}) {
        const Weights w = random_weights(type, n_out, n_in, ++stream);
        for (int64_t n_tokens :
             is_long ? std::vector<int64_t>{1, 9} : std::vector<int64_t>{1, 2, 7, 8, 9, 33}) {
          const std::vector<float> x = numbers(n_tokens * n_in, ++stream);
          for (const TokenBytes bytes : all_bytes()) expect_products(w, x, bytes, n_tokens % 2 == 0, pool);
        }
      }
    }
  }
}

TEST_F(GemmInt8, AgreesAtTheEndsOfTheRange) {
  ThreadPool pool(1);
  for (const Type type : types()) {
    for (int bits : {0x00, 0xff, 0x80, 0x7f}) {
      for (float x : {1.0f, -1.0f}) {
        Weights w = random_weights(type, 3, 512, 5);
        std::fill(w.bytes.begin(), w.bytes.end(), std::byte(bits));
        for (size_t at = 0; at < w.bytes.size(); at += size_t(traits(type).block_bytes))
          set_scales(type, &w.bytes[at], 0.25f);
        for (int64_t r = 0; r < 3; ++r) {
          std::vector<float> row(512);
          decode_row(row.data(), w.view, r, 0, 512);
          std::copy(row.begin(), row.end(), w.values.begin() + r * 512);
        }
        for (const TokenBytes bytes : all_bytes())
          expect_products(w, std::vector<float>(2 * 512, x), bytes, false, pool);
      }
    }
  }
}

TEST_F(GemmInt8, BitsDependNeitherOnThreadsNorOnOtherTokens) {
  ThreadPool one(1), many(5);
  for (const Type type : types()) {
    const int64_t n_in = 1280, n_out = 133;
    const Weights w = random_weights(type, n_out, n_in, 3);
    const std::vector<float> x = numbers(600 * n_in, 4);
    for (const TokenBytes bytes : all_bytes()) {
      const std::vector<float> all = run(w, x, bytes, false, many);
      EXPECT_EQ(all, run(w, x, bytes, false, one));
      const std::vector<float> last(x.end() - 3 * n_in, x.end());
      EXPECT_EQ(std::vector<float>(all.end() - 3 * n_out, all.end()), run(w, last, bytes, false, one));
    }
  }
}

// Of several weights, (n_tokens, n_rows of each) rounded at random, or to the nearest without a key.
std::vector<float> run_gradient(const std::vector<Weights>& weights,
                                const std::vector<std::vector<float>>& dy,
                                const std::vector<RandomRounding>& rounding, ThreadPool& pool,
                                TokenBytes bytes = TokenBytes::one) {
  const int64_t n_in = weights[0].view.n_cols, n_tokens = int64_t(dy[0].size()) / weights[0].view.n_rows;
  std::vector<std::vector<std::byte>> storage;
  std::vector<Int8Tokens> rounded;
  std::vector<Int8Term> terms;
  rounded.reserve(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    const int64_t n_out = weights[i].view.n_rows;
    storage.emplace_back(size_t(int8_tokens_bytes(n_tokens, n_out, bytes)));
    const TokenRows rows = {dy[i].data(), nullptr, n_tokens};
    rounded.push_back(round_gradients(storage.back().data(), {&rows, 1}, n_out, bytes, rounding, pool)[0]);
    MatrixView view = weights[i].view;
    view.data = weights[i].bytes.data();  // of this copy
    terms.push_back({view, &rounded.back()});
  }
  std::vector<float> dx(size_t(n_tokens * n_in), kBefore);
  GemmScratch scratch(pool.size());
  const Int8Gradient gradient = {dx.data(), terms};
  gemm_int8_input_gradient({&gradient, 1}, scratch, pool);
  return dx;
}

std::vector<float> floats(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

TEST_F(GemmInt8, InputGradientsHaveTheBitsOfTheReference) {
  ThreadPool pool(2);
  const std::vector<int32_t> positions = {5, 0, 7, 123, 9, 10, 11, 2};
  uint64_t stream = 1000;
  for (const Type type : types()) {
    for (const int64_t n_in : {96, 512}) {
      if (n_in % traits(type).block_size != 0) continue;
      for (const int64_t n_out : {1, 45, 300}) {
        for (const int64_t n_tokens : {1, 8}) {
          const std::vector<RandomRounding> rounding = {
              {++stream, n_tokens == 8 ? positions.data() : nullptr}};
          const std::vector<Weights> weights = {random_weights(type, n_out, n_in, ++stream),
                                                random_weights(type, 33, n_in, ++stream)};
          const std::vector<std::vector<float>> dy = {numbers(n_tokens * n_out, ++stream),
                                                      numbers(n_tokens * 33, ++stream)};
          // At random, to the nearest, and of two bytes.
          for (const auto& [bytes, at_random] :
               {std::pair{TokenBytes::one, true}, {TokenBytes::one, false}, {all_bytes().back(), false}}) {
            std::vector<float> want(size_t(n_tokens * n_in), 0.0f);
            for (size_t i = 0; i < 2; ++i) {
              gemm_int8_input_gradient_reference(want.data(), dy[i].data(), floats(weights[i].values).data(),
                                                 n_tokens, weights[i].view.n_rows, n_in, bytes,
                                                 at_random ? &rounding[0] : nullptr);
            }
            EXPECT_EQ(
                run_gradient(weights, dy, at_random ? rounding : std::vector<RandomRounding>(), pool, bytes),
                want)
                << traits(type).name << " " << n_tokens << "x" << n_out << "x" << n_in;
          }
        }
      }
    }
  }
}

TEST_F(GemmInt8, ActivationsAreWithinHalfAStep) {
  const int64_t n_in = 512;
  const std::vector<float> x = numbers(9 * n_in, 3);
  for (const TokenBytes bytes : all_bytes()) {
    const std::vector<double> values = rounded(x, n_in, bytes);
    for (size_t i = 0; i < x.size(); i += 32) {
      float top = 0;
      for (size_t j = i; j < i + 32; ++j) top = std::max(top, std::fabs(x[j]));
      const double most = double(top) / (bytes == TokenBytes::two ? 65000 : 253);
      for (size_t j = i; j < i + 32; ++j) EXPECT_NEAR(values[j], double(x[j]), most);
    }
  }
}

// Half a step of a block's largest number, and of a weight's column.
TEST_F(GemmInt8, InputGradientsAreNearThoseOfFloats) {
  ThreadPool pool(2);
  for (const Type type : types()) {
    const int64_t n_in = 512, n_out = 320, n_tokens = 12;
    const std::vector<Weights> weights = {random_weights(type, n_out, n_in, 7)};
    const std::vector<std::vector<float>> dy = {numbers(n_tokens * n_out, 8)};
    const std::vector<float> got = run_gradient(weights, dy, {{3}}, pool);
    double difference = 0, norm = 0;
    for (int64_t t = 0; t < n_tokens; ++t) {
      for (int64_t i = 0; i < n_in; ++i) {
        double want = 0;
        for (int64_t o = 0; o < n_out; ++o)
          want += double(dy[0][size_t(t * n_out + o)]) * weights[0].values[size_t(o * n_in + i)];
        difference += std::pow(double(got[size_t(t * n_in + i)]) - want, 2);
        norm += want * want;
      }
    }
    EXPECT_LT(std::sqrt(difference / norm), 0.02) << traits(type).name;
  }
}

TEST_F(GemmInt8, InputGradientsDependNeitherOnThreadsNorOnOtherTokens) {
  ThreadPool one(1), many(5);
  const int64_t n_in = 768, n_out = 301, n_tokens = 600;
  std::vector<int32_t> positions;
  for (int32_t t = 0; t < n_tokens; ++t) positions.push_back(t * 3);
  for (const Type type : {Type::Q8_0, Type::Q4_K}) {
    const std::vector<Weights> w = {random_weights(type, n_out, n_in, 3)};
    const std::vector<float> dy = numbers(n_tokens * n_out, 4);
    const std::vector<float> all = run_gradient(w, {dy}, {{9, positions.data()}}, many);
    EXPECT_EQ(all, run_gradient(w, {dy}, {{9, positions.data()}}, one));
    const std::vector<float> last(dy.end() - 3 * n_out, dy.end());
    EXPECT_EQ(std::vector<float>(all.end() - 3 * n_in, all.end()),
              run_gradient(w, {last}, {{9, positions.data() + n_tokens - 3}}, one));
    EXPECT_NE(all, run_gradient(w, {dy}, {{10, positions.data()}}, many)) << "the key counts";
  }
}

// Of n draws a mean is off by at most some half steps / sqrt(n); to the nearest it is by up to half a step,
// however many there are.
TEST_F(GemmInt8, RoundingAtRandomIsTheNumberOnAverage) {
  ThreadPool pool(1);
  constexpr int64_t kDraws = 20000, kColumns = 90;
  const std::vector<float> x = numbers(kColumns, 5);
  float top[2] = {};
  for (size_t i = 0; i < x.size(); ++i)
    top[i / kGradientGroup] = std::max(top[i / kGradientGroup], std::fabs(x[i]));
  std::vector<double> mean(x.size());
  std::vector<std::byte> storage(size_t(int8_tokens_bytes(1, kColumns, TokenBytes::one)));
  const TokenRows rows = {x.data(), nullptr, 1};
  const auto draw = [&](const std::vector<RandomRounding>& rounding) {
    const Int8Tokens tokens =
        round_gradients(storage.data(), {&rows, 1}, kColumns, TokenBytes::one, rounding, pool)[0];
    std::vector<double> values;
    for (size_t i = 0; i < x.size(); ++i)
      values.push_back(double(tokens.d[i / kGradientGroup]) * tokens.q[i]);
    return values;
  };
  for (uint64_t key = 0; key < kDraws; ++key) {
    const std::vector<double> values = draw({{key}});
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_LT(std::fabs(values[i] - double(x[i])), double(top[i / kGradientGroup]) / 127 * 1.0001) << i;
      mean[i] += values[i] / double(kDraws);
    }
  }
  const std::vector<double> nearest = draw({});
  double worst = 0, worst_of_nearest = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double step = double(top[i / kGradientGroup]) / 127;
    worst = std::max(worst, std::fabs(mean[i] - double(x[i])) / step);
    worst_of_nearest = std::max(worst_of_nearest, std::fabs(nearest[i] - double(x[i])) / step);
  }
  EXPECT_LT(worst, 5 * 0.5 / std::sqrt(double(kDraws)));
  EXPECT_GT(worst_of_nearest, 0.4);
}

// Rows that are rounded some at a time are rounded as all at once.
TEST_F(GemmInt8, RoundingGoesByWhereARowStands) {
  ThreadPool pool(1);
  constexpr int64_t kRows = 7, kFirst = 3, kColumns = 90;
  const std::vector<float> x = numbers(kRows * kColumns, 6);
  const auto rounded = [&](int64_t row, int64_t n_rows, const RandomRounding& rounding) {
    std::vector<std::byte> storage(size_t(int8_tokens_bytes(n_rows, kColumns, TokenBytes::one)));
    const TokenRows rows = {&x[size_t(row * kColumns)], nullptr, n_rows};
    const Int8Tokens tokens =
        round_gradients(storage.data(), {&rows, 1}, kColumns, TokenBytes::one, {&rounding, 1}, pool)[0];
    std::vector<int8_t> last;
    const int64_t t = n_rows - 1, width = tokens.width;
    for (int64_t c = 0; c < kColumns; ++c)
      last.push_back(tokens.q[tokens.at(t / width * width, c / 4 * 4) + t % width * 4 + c % 4]);
    return last;
  };
  const int32_t positions[] = {3, 4, 5, 6};
  const std::vector<int8_t> want = rounded(0, kRows, {.key = 9});
  EXPECT_EQ(rounded(kFirst, kRows - kFirst, {.key = 9, .first = kFirst}), want);
  EXPECT_EQ(rounded(kFirst, kRows - kFirst, {.key = 9, .positions = positions}), want);
  EXPECT_NE(rounded(kFirst, kRows - kFirst, {.key = 9}), want);
}

TEST_F(GemmInt8, InputGradientsOfWhatIsNoNumberAreNone) {
  ThreadPool pool(1);
  for (float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> dy = numbers(2 * 40, 1);
    dy[40 + 33] = bad;
    const std::vector<Weights> w = {random_weights(Type::Q8_0, 40, 64, 2)};
    for (const auto& [bytes, rounding] : {std::pair{TokenBytes::one, std::vector<RandomRounding>{{1}}},
                                          {TokenBytes::one, {}},
                                          {all_bytes().back(), {}}}) {
      const std::vector<float> dx = run_gradient(w, {dy}, rounding, pool, bytes);
      for (size_t i = 0; i < dx.size(); ++i) EXPECT_EQ(std::isfinite(dx[i]), i < 64) << i;
    }
  }
}

TEST_F(GemmInt8, WhatIsNoNumberStaysNone) {
  ThreadPool pool(1);
  for (const Type type : types()) {
    for (float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> x = numbers(2 * 256, 1);
      x[256 + 40] = bad;
      for (const TokenBytes bytes : all_bytes()) {
        const std::vector<float> y = run(random_weights(type, 5, 256, 2), x, bytes, false, pool);
        for (size_t i = 0; i < 10; ++i) EXPECT_EQ(std::isfinite(y[i]), i < 5) << i;
      }
    }
  }
}

}  // namespace gemm_int8_test
}  // namespace lora
