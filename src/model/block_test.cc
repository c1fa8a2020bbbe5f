// The block against its plain form: what comes out, and every gradient of the backward pass against finite
// differences of that form in double.
#include "model/block.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <ostream>
#include <string>

#include "base/random.h"
#include "kernels/dropout/dropout.h"
#include "model/block_reference.h"
#include "nn/finite_differences.h"

namespace lora {
namespace {

using Values = std::vector<double>;
using test::finite_differences;

constexpr uint64_t kDropoutKey = 77;
constexpr float kDropout = 0.3f;

struct Case {
  const char* name;
  std::vector<int64_t> segments;  // their lengths
  int64_t n_ff;
  RopeStyle style = RopeStyle::interleaved;
  int64_t n_rot = 6;
  bool dropout = false;
  GemmInput input = GemmInput::f32;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

// Numbers that f32 holds, in [-size, size).
Values random_values(uint64_t stream, int64_t n, double size = 1) {
  Values v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i)
    v[i] = double(float(size * (2.0 * double(random_uniform(8, Purpose::test, stream, i)) - 1)));
  return v;
}

std::vector<float> to_float(const Values& v) {
  return {v.begin(), v.end()};
}

// No size is a multiple of another or of a vector; three query heads to a key head.
BlockReference<double> make_reference(const Case& c, const Architecture& architecture) {
  BlockReference<double> r;
  ModelConfig& config = r.config;
  config.architecture = &architecture;
  config.n_layer = 1;
  config.n_embd = 15;
  config.n_ff = c.n_ff;
  config.n_head = 6;
  config.n_head_kv = 2;
  config.head_dim = 6;
  config.rms_norm_eps = 1e-3f;
  // With a factor on cos and sin the backward turn is the transpose, not the inverse.
  config.rope = {.n_rot = c.n_rot, .freq_base = 10, .yarn_attn_factor = 1.25};
  int64_t row = 0;
  for (const int64_t length : c.segments) {
    r.segments.push_back({row, length, row, length});
    for (int64_t i = 0; i < length; ++i) r.positions.push_back(int32_t(i + 2));
    row += length;
  }
  r.attn_norm = random_values(1, config.n_embd);
  r.ffn_norm = random_values(2, config.n_embd);
  const auto rows = linear_rows();
  for (size_t i = 0; i < rows.size(); ++i) {
    auto& l = r.linear[i];
    l = {rows[i].n_out(config), rows[i].n_in(config), int64_t(1 + i % 3), {}, {}, {}, {}, 0.75, {}};
    const uint64_t stream = 10 * (i + 1);
    const double size = 2 / std::sqrt(double(l.n_in));
    l.w = random_values(stream, l.n_out * l.n_in, size);
    l.a = random_values(stream + 1, l.rank * l.n_in, size);
    l.b = random_values(stream + 2, l.n_out * l.rank);
    if (i < 3) l.bias = random_values(stream + 3, l.n_out);
  }
  return r;
}

// The block in f32 over the same numbers.
struct Block {
  Architecture architecture;
  BlockReference<double> reference;
  ThreadPool pool{2};
  Model model;
  Layer layer;
  std::vector<float> weights[7], biases[7], a[7], b[7], da[7], db[7];
  std::vector<float> attn_gain, ffn_gain, attn_dgain, ffn_dgain;
  RopeTable rope;
  GemmScratch scratch{2};
  GemmInput input;

  explicit Block(const Case& c)
      : architecture{"test", c.style}, reference(make_reference(c, architecture)), input(c.input) {
    model.config = reference.config;
    rope = make_rope_table(model.config.rope, 32);
    reference.cos.assign(rope.cos.span().begin(), rope.cos.span().end());
    reference.sin.assign(rope.sin.span().begin(), rope.sin.span().end());
    // Trained gains stand in the place of the model's, which are not looked at.
    const auto train = [&](Norm& norm, const Values& values, std::vector<float>& gain,
                           std::vector<float>& gradient) {
      gain = to_float(values);
      gradient.resize(gain.size());
      norm.gain = Buffer<float>(int64_t(gain.size()));
      for (float& g : norm.gain.span()) g = std::numeric_limits<float>::quiet_NaN();
      norm.trained = gain.data();
      norm.gradient = gradient.data();
    };
    train(layer.attn_norm, reference.attn_norm, attn_gain, attn_dgain);
    train(layer.ffn_norm, reference.ffn_norm, ffn_gain, ffn_dgain);
    for (size_t i = 0; i < 7; ++i) {
      auto& l = reference.linear[i];
      weights[i] = to_float(l.w);
      biases[i] = to_float(l.bias);
      a[i] = to_float(l.a);
      b[i] = to_float(l.b);
      da[i].resize(a[i].size());
      db[i].resize(b[i].size());
      Linear& linear = layer.*linear_rows()[i].member;
      linear.w = f32_matrix(weights[i].data(), l.n_out, l.n_in);
      if (!biases[i].empty()) linear.bias = biases[i].data();
      linear.loras = {{a[i].data(), b[i].data(), l.rank, float(l.scale), da[i].data(), db[i].data(),
                       c.dropout ? kDropout : 0, i}};
      if (!c.dropout) continue;
      std::vector<float> mask(size_t(reference.n_tokens() * l.n_in), 1.0f);
      dropout_apply(mask.data(), mask.data(), reference.n_tokens(), l.n_in,
                    {kDropout, random_bits(kDropoutKey, Purpose::dropout, i, 0)}, false, pool);
      l.mask.assign(mask.begin(), mask.end());
    }
  }

  // y, and what becomes of dy; the adapters' gradients are added to.
  struct Passes {
    std::vector<float> y, dx;
  };
  Passes run(const Values& x, const Values& dy, bool needs_dx = true, bool keep_y = true) {
    const int64_t n = reference.n_tokens();
    const int64_t n_kv = n;
    Arena arena(block_activation_bytes(model, layer, n) +
                block_workspace_bytes(model, layer, n, n_kv, true, input, pool.size()));
    NnContext nn{pool, input, scratch, arena};
    nn.dropout_key = kDropoutKey;
    const BlockTokens tokens{n, reference.positions.data(), reference.segments, rope};
    const BlockActivations activations = take_block_activations(arena, model, layer, n);
    const std::vector<float> in = to_float(x);
    Passes result{std::vector<float>(in.size()), to_float(dy)};
    block_forward(keep_y ? result.y.data() : nullptr, in.data(), model, layer, activations, tokens, nullptr,
                  nn);
    block_backward(result.dx.data(), in.data(), model, layer, activations, tokens, needs_dx, nn);
    return result;
  }

  // Every array of gradients with its name and the reference's numbers that it belongs to.
  void for_each_parameter(
      const std::function<void(const std::string&, std::vector<float>& gradient, Values&)>& visit) {
    visit("attn_norm", attn_dgain, reference.attn_norm);
    visit("ffn_norm", ffn_dgain, reference.ffn_norm);
    for (size_t i = 0; i < 7; ++i) {
      const std::string name(linear_rows()[i].name);
      visit(name + ".lora_a", da[i], reference.linear[i].a);
      visit(name + ".lora_b", db[i], reference.linear[i].b);
    }
  }
};

double largest(const auto& v) {
  double result = 0;
  for (const auto value : v) {
    if (std::isnan(value)) return std::numeric_limits<double>::infinity();
    result = std::max(result, std::fabs(double(value)));
  }
  return result;
}

// The largest error of one number, of the largest number.
double worst(const std::vector<float>& got, const Values& want) {
  Values difference;
  for (size_t i = 0; i < want.size(); ++i) difference.push_back(double(got[i]) - want[i]);
  return largest(difference) / largest(want);
}

// A gradient of a block lies behind about a dozen sums of up to a hundred products, each rounded by half of
// the last bit: 6e-8 in f32, 4e-3 for inputs in bf16. A root of the number of roundings leaves a few times
// that; what a missing term changes is near 1.
double tolerance(GemmInput input) {
  return input == GemmInput::f32 ? 2e-5 : 0.1;
}

class BlockPasses : public testing::TestWithParam<Case> {};

TEST_P(BlockPasses, GradientsAreTheSlopesOfThePlainForm) {
  Block block(GetParam());
  const double allowed = tolerance(GetParam().input);
  const int64_t size = block.reference.n_tokens() * block.model.config.n_embd;
  Values x = random_values(100, size);
  const Values dy = random_values(101, size);
  block.for_each_parameter([](const std::string&, std::vector<float>& gradient, Values&) {
    std::fill(gradient.begin(), gradient.end(), 0.5f);  // what is there is added to
  });
  const Block::Passes got = block.run(x, dy);
  EXPECT_LT(worst(got.y, block.reference.forward(x)), allowed);

  const auto loss = [&] {
    const Values y = block.reference.forward(x);
    return std::inner_product(y.begin(), y.end(), dy.begin(), 0.0);
  };
  EXPECT_LT(worst(got.dx, finite_differences(x, loss)), allowed) << "x";
  block.for_each_parameter([&](const std::string& name, std::vector<float>& gradient, Values& values) {
    for (float& g : gradient) g -= 0.5f;
    const Values want = finite_differences(values, loss);
    ASSERT_GT(largest(want), 1e-2) << name << " does not matter here";
    EXPECT_LT(worst(gradient, want), allowed + 1e-6 / largest(want)) << name;  // 0.5 and back costs bits
  });
}

// A first layer's backward pass needs no gradient of its input, and activations that are computed again are
// computed without y: the gradients are the same bits.
TEST_P(BlockPasses, WhatIsNotNeededDoesNotCount) {
  Block whole(GetParam()), less(GetParam());
  const int64_t size = whole.reference.n_tokens() * whole.model.config.n_embd;
  const Values x = random_values(100, size), dy = random_values(101, size);
  const Block::Passes all = whole.run(x, dy);
  less.run(x, dy, false);
  std::vector<std::vector<float>> want;
  whole.for_each_parameter(
      [&](const std::string&, std::vector<float>& gradient, Values&) { want.push_back(gradient); });
  size_t i = 0;
  less.for_each_parameter([&](const std::string& name, std::vector<float>& gradient, Values&) {
    EXPECT_EQ(gradient, want[i++]) << name;
  });
  EXPECT_EQ(whole.run(x, dy, true, false).dx, all.dx);
}

INSTANTIATE_TEST_SUITE_P(
    All, BlockPasses,
    testing::Values(Case{"Packed", {9, 1, 11}, 13}, Case{"FewTokens", {2, 4}, 13},
                    Case{"GradientsFitGateAndUp", {9, 1, 11}, 37},
                    Case{"HalvesPartlyTurned", {20}, 13, RopeStyle::halves, 4},
                    Case{"NotTurned", {5, 15}, 13, RopeStyle::interleaved, 0},
                    Case{"Dropout", {9, 1, 11}, 13, RopeStyle::interleaved, 6, true},
                    Case{"DropoutFewTokens", {3}, 37, RopeStyle::halves, 6, true},
                    Case{"Bf16", {9, 1, 11}, 13, RopeStyle::interleaved, 6, false, GemmInput::bf16}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace lora
