// A model of random weights: valid blocks of the right spread, the shapes asked for, and a step that runs.
#include "model/synthetic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "base/error.h"
#include "model/step.h"
#include "model/synthetic_blocks.h"
#include "quant/choice.h"

namespace lora {
namespace synthetic_test {

constexpr SyntheticShape kSmall = {"small", 3, 256, 512, 4, 2, 1000, 512, 10000};

TEST(RandomBlocks, HaveTheSpreadAskedForInEveryType) {
  for (const TypeTraits& t : all_types()) {
    if (!t.decode) continue;
    SCOPED_TRACE(t.name);
    constexpr int64_t kValues = 256 * 512;
    const std::vector<std::byte> blocks = random_blocks(t.type, kValues, 0.02f);
    ASSERT_EQ(int64_t(blocks.size()), kValues / t.block_size * t.block_bytes);
    std::vector<float> values(kValues);
    t.decode(values.data(), blocks.data(), kValues);
    double sum = 0, squares = 0;
    for (const float v : values) {
      ASSERT_TRUE(std::isfinite(v));
      sum += double(v);
      squares += double(v) * double(v);
    }
    // The f16 scale is rounded to 11 bits; formats without a minimum have codes from -8 to 7, say.
    EXPECT_NEAR(std::sqrt(squares / kValues), 0.02, 0.02 * 0.01);
    EXPECT_LT(std::fabs(sum / kValues), 0.02 * 0.15);
    const bool is_ternary = t.type == Type::TQ1_0 || t.type == Type::TQ2_0;
    EXPECT_GE(std::set<float>(values.begin(), values.end()).size(), is_ternary ? 3u : 16u);
  }
}

TEST(RandomBlocks, AreRefusedForTypesWithoutWeights) {
  EXPECT_THROW(random_blocks(Type::I32, 256, 1), Error);
}

TEST(Synthetic, KnownModelsHaveTheirNumberOfWeights) {
  const auto billions = [](std::string_view name) {
    const SyntheticShape& s = find_synthetic_shape(name);
    const int64_t kv = s.n_embd / s.n_head * s.n_head_kv;
    const int64_t layer = s.n_embd * (2 * s.n_embd + 2 * kv + 3 * s.n_ff + 2);
    return double(s.n_layer * layer + s.n_embd * (2 * s.n_vocab + 1)) / 1e9;
  };
  EXPECT_NEAR(billions("llama-1b"), 1.100, 0.001);  // as published
  EXPECT_NEAR(billions("llama-3b"), 3.427, 0.001);
  EXPECT_NEAR(billions("llama-7b"), 6.738, 0.001);
  EXPECT_NEAR(billions("llama-8b"), 8.030, 0.001);
  EXPECT_NEAR(billions("llama-13b"), 13.016, 0.001);
}

// Short convolutions in 22 layers, attention in 8; the output is the embedding.
TEST(Synthetic, Lfm2HasItsNumberOfWeights) {
  const SyntheticShape& shape = find_synthetic_shape("lfm2-2.6b");
  const ModelConfig config = config_of_keys(Gguf::of_values("keys", synthetic_keys(shape)), shape.n_vocab);
  struct Count {
    int64_t& n;
    void operator()(const NormSpec& norm) const { n += norm.n; }
    void operator()(const VectorSpec& vector) const { n += vector.n * vector.n_rows; }
    void operator()(const LinearSpec& linear) const { n += linear.n_out * linear.n_in; }
  };
  int64_t n = shape.n_vocab * shape.n_embd + shape.n_embd;
  for (int64_t i = 0; i < config.n_layer; ++i) for_each_part(config.architecture->layer(config, i), Count{n});
  EXPECT_EQ(n, 2569272320);  // as published
}

TEST(Synthetic, UnknownNamesAreRefusedWithTheKnownOnes) {
  ThreadPool pool(1);
  const auto message = [](const auto& call) {
    try {
      call();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(message([] { find_synthetic_shape("llama-2b"); }), testing::HasSubstr("llama-1b, llama-3b"));
  EXPECT_THAT(message([&] { make_synthetic(kSmall, "q9_0", pool); }), testing::HasSubstr("Q8_0"));
  EXPECT_THAT(message([&] { make_synthetic(kSmall, "i32", pool); }), testing::HasSubstr("unknown"));
}

TEST(Synthetic, MoreMemoryThanThereIsIsRefused) {
  ThreadPool pool(1);
  SyntheticShape shape = kSmall;
  shape.n_vocab = int64_t{1} << 40;
  EXPECT_THROW(make_synthetic(shape, "f16", pool), Error);
}

TEST(Synthetic, TheMixtureGivesSomeTensorsMoreBits) {
  ThreadPool pool(1);
  SyntheticShape shape = kSmall;
  shape.n_layer = 8;
  const SyntheticModel mixed = make_synthetic(shape, "Q4_K_M", pool);
  EXPECT_EQ(mixed.model.embedding.table.type, Type::Q4_K);
  EXPECT_EQ(mixed.model.output.w.type, Type::Q6_K);
  std::string more;  // llama.cpp's choice for eight layers
  for (int i = 0; i < 8; ++i) {
    const auto type = [&](const char* name) {
      return mixed.model.find_linears(fmt::format("blk.{}.{}.weight", i, name)).front()->w.type;
    };
    EXPECT_EQ(type("attn_q"), Type::Q4_K);
    EXPECT_EQ(type("attn_v"), type("ffn_down"));
    more += type("ffn_down") == Type::Q6_K ? '6' : '4';
  }
  EXPECT_EQ(more, "64464466");
  EXPECT_THAT(mixed.replaced, testing::IsEmpty());
}

TEST(Synthetic, RowsThatBlocksDoNotDivideGetASmallerBlock) {
  EXPECT_EQ(type_for_rows(Type::Q4_K, 256), Type::Q4_K);
  EXPECT_EQ(type_for_rows(Type::Q4_K, 3200), Type::Q5_0);
  EXPECT_EQ(type_for_rows(Type::Q6_K, 8640), Type::Q8_0);
  EXPECT_EQ(type_for_rows(Type::Q2_K, 32), Type::Q4_0);
  EXPECT_EQ(type_for_rows(Type::Q8_0, 40), Type::F16);
  ThreadPool pool(1);
  SyntheticShape shape = kSmall;
  shape.n_ff = 544;
  const SyntheticModel model = make_synthetic(shape, "q4_k", pool);
  EXPECT_EQ(model.model.find_linears("blk.0.ffn_down.weight").front()->w.type, Type::Q5_0);
  EXPECT_THAT(model.replaced, testing::ElementsAre("Q5_0 in place of Q4_K (rows of 544)"));
}

// The bits do not depend on the threads that filled them, and a step gives the loss of a model that
// knows nothing: ln(n_vocab), a little more for the logits' spread.
TEST(Synthetic, AStepOfItIsFiniteAndTheSameForAnyThreads) {
  std::vector<double> means;
  for (const int n_threads : {1, 3}) {
    ThreadPool pool(n_threads);
    SyntheticModel synthetic = make_synthetic(kSmall, "q8_0", pool);
    Model& model = synthetic.model;
    std::vector<float> a(size_t(4 * kSmall.n_embd), 0.01f), b(a), da(a.size()), db(a.size());
    model.find_linears("blk.0.attn_q.weight")
        .front()
        ->loras.push_back({a.data(), b.data(), 4, 1, da.data(), db.data()});
    constexpr int64_t kTokens = 64;
    std::vector<int32_t> ids(kTokens), positions(kTokens);
    for (int64_t i = 0; i < kTokens; ++i) ids[size_t(i)] = int32_t(i * 13 % 1000);
    std::iota(positions.begin(), positions.end(), 0);
    const AttentionSegment segment{0, kTokens, 0, kTokens};
    Step step(model, plan_step(model, kTokens, kTokens, 0, true, GemmInput::f32, n_threads), GemmInput::f32,
              pool);
    std::vector<double> losses(kTokens);
    step.losses_and_gradients(losses.data(), {ids, ids, positions, {&segment, 1}}, 1.0f);
    means.push_back(std::accumulate(losses.begin(), losses.end(), 0.0) / kTokens);
    double squares = 0;
    for (const float d : da) squares += double(d) * double(d);
    EXPECT_GT(squares, 0);
    EXPECT_TRUE(std::isfinite(squares));
  }
  EXPECT_NEAR(means[0], std::log(1000.0), 0.5);
  EXPECT_EQ(means[0], means[1]);
}

}  // namespace synthetic_test
}  // namespace lora
