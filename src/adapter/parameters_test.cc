// Trained parameters: gradients of embedding, output and norm pairs against finite differences of the bundled
// model's loss, and what rslora folds into an adapter.
#include "adapter/parameters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "adapter/norms.h"
#include "model/step.h"

namespace lora {
namespace parameters_test {

// One rank for the tensors with these flags, none for the others.
Ranks ranks_of(const std::vector<std::string_view>& flags, int64_t rank) {
  Ranks ranks;
  for (const RankFlag& row : rank_flags()) {
    if (std::ranges::find(flags, row.flag) != flags.end()) ranks.emplace(row.tensor, rank);
  }
  return ranks;
}

// The model with parameters of some targets, B filled so that every gradient is there, and 40 tokens.
struct Trained {
  Model model = load_model(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  LoraParameters parameters;
  TrainedNorms norms;
  ThreadPool pool{2};
  std::vector<int32_t> ids, targets, positions;
  AttentionSegment segment{0, 40, 0, 40};

  explicit Trained(const std::vector<std::string_view>& flags, int64_t rank, bool rslora = false) {
    parameters = make_parameters(model, ranks_of(flags, rank), 2, 7, rslora);
    for (const auto& pair : parameters.pairs) {
      for (int64_t i = 0; i < pair.b_size(); ++i)
        parameters.values[pair.b + i] = 0.05f * float((i * 7 + 3) % 5 - 2);
    }
    attach(model, parameters);
    norms = TrainedNorms(model, parameters);
    for (int32_t i = 0; i < 40; ++i) {
      ids.push_back(300 + i * 37 % 500);
      targets.push_back(300 + (i + 1) * 37 % 500);
      positions.push_back(i);
    }
  }

  double loss(bool backward, const std::function<bool()>& give_up = {},
              std::optional<uint64_t> weight_room = {}) {
    StepPlan plan = plan_step(model, 40, 40, weight_room ? 2 : 6, backward, GemmInput::f32, pool.size());
    plan.weight_room = weight_room;
    Step step(model, plan, GemmInput::f32, pool);
    step.set_give_up(give_up);
    std::vector<double> losses(40);
    norms.apply();
    const StepTokens tokens{ids, targets, positions, {&segment, 1}};
    if (backward) {
      step.losses_and_gradients(losses.data(), tokens, 1);
      norms.add_gradients();
    } else {
      step.losses(losses.data(), tokens);
    }
    return std::accumulate(losses.begin(), losses.end(), 0.0);
  }
};

// Weights that memory does not hold whole are read when they are needed: the bits are the same.
TEST(WeightPrefetch, LeavesLossAndGradientsAsTheyAre) {
  for (const auto& flags : {std::vector<std::string_view>{"wq", "w2"}, {"out"}}) {
    Trained held(flags, 3), read(flags, 3);
    const double want = held.loss(true);
    EXPECT_EQ(read.loss(true, {}, least_room(read.model)), want);
    const auto& g = held.parameters.gradients;
    EXPECT_TRUE(std::equal(g.data(), g.data() + g.size(), read.parameters.gradients.data()));
    EXPECT_EQ(read.loss(false, {}, 1), want);
  }
}

class Gradients : public testing::TestWithParam<std::string_view> {};

// Along the gradient g the loss changes by eps |g|. Central differences of f32 sums of 40 losses of about 8:
// rounding is near 1e-6 of the loss, 1e-3 of a change of 0.3; curvature adds its part.
TEST_P(Gradients, AreTheSlopeOfTheLoss) {
  Trained t({GetParam()}, GetParam().ends_with("norm") ? 1 : 3);
  t.loss(true);
  const std::vector<float> g(t.parameters.gradients.data(),
                             t.parameters.gradients.data() + t.parameters.gradients.size());
  double norm = 0;
  for (float value : g) norm += double(value) * double(value);
  norm = std::sqrt(norm);
  ASSERT_GT(norm, 0.1);
  const double eps = 0.15 / norm;
  const auto moved = [&](double by) {
    Trained other({GetParam()}, GetParam().ends_with("norm") ? 1 : 3);
    for (size_t i = 0; i < g.size(); ++i) other.parameters.values[int64_t(i)] += float(by * g[i] / norm);
    return other.loss(false);
  };
  const double slope = (moved(eps) - moved(-eps)) / (2 * eps);
  EXPECT_NEAR(slope / norm, 1, 0.01);
}

INSTANTIATE_TEST_SUITE_P(Targets, Gradients,
                         testing::Values("wq", "tok-embd", "out", "att-norm", "ffn-norm", "out-norm"));

TEST(Parameters, FreshNormPairsLeaveTheModelUnchanged) {
  Trained t({"att-norm", "out-norm"}, 1);
  std::fill(t.parameters.values.span().begin(), t.parameters.values.span().end(), 0.0f);
  Trained plain({"wq"}, 1);
  std::fill(plain.parameters.values.span().begin(), plain.parameters.values.span().end(), 0.0f);
  EXPECT_EQ(t.loss(false), plain.loss(false));
}

std::vector<float> gains_of(Model& model) {
  std::vector<float> all;
  for (const char* name : {"blk.0.attn_norm.weight", "blk.5.ffn_norm.weight", "output_norm.weight"}) {
    const Buffer<float>& gain = model.find_norm(name)->gain;
    all.insert(all.end(), gain.span().begin(), gain.span().end());
  }
  return all;
}

// The model's own numbers stay as they were loaded, in a pass, after one that gave up, and once nothing is
// trained any more.
TEST(Parameters, TrainedNormsLeaveTheModelAsItWas) {
  Trained plain({"wq"}, 1);
  const std::vector<float> gains = gains_of(plain.model);
  Trained t({"att-norm", "ffn-norm", "out-norm"}, 2);
  const double whole = t.loss(true);
  EXPECT_NE(whole, plain.loss(false));
  EXPECT_EQ(gains_of(t.model), gains);
  const std::vector<float> want(t.parameters.gradients.span().begin(), t.parameters.gradients.span().end());

  int asked = 0;
  EXPECT_THROW(t.loss(true, [&] { return ++asked == 9; }), GivenUp) << "in the third layer of the way back";
  EXPECT_EQ(gains_of(t.model), gains);
  std::ranges::fill(t.parameters.gradients.span(), 0.0f);
  EXPECT_EQ(t.loss(true), whole);
  EXPECT_TRUE(std::ranges::equal(t.parameters.gradients.span(), want)) << "nothing is left of that pass";

  t.norms = {};
  std::fill(plain.parameters.values.span().begin(), plain.parameters.values.span().end(), 0.0f);
  EXPECT_EQ(t.loss(false), plain.loss(false));
}

TEST(Parameters, AreDetachedHoweverTheScopeIsLeft) {
  Trained t({"wq"}, 3);
  const double alone = t.loss(false);
  LoraParameters more = make_parameters(t.model, ranks_of({"wq", "w2", "tok-embd", "out"}, 2), 2, 9);
  for (float& value : more.values.span()) value += 0.01f;
  try {
    const Attached attached(t.model, more);
    EXPECT_NE(t.loss(false), alone);
    int asked = 0;
    t.loss(true, [&] { return ++asked == 4; });
    ADD_FAILURE() << "should have given up";
  } catch (const GivenUp&) {
  }
  EXPECT_EQ(t.loss(false), alone);
  EXPECT_EQ(t.model.find_linears("blk.0.attn_q.weight").front()->loras.size(), 1u);
  EXPECT_TRUE(t.model.embedding.loras.empty());
}

TEST(Parameters, AnAdapterHasNoNorms) {
  const Trained t({"wq", "att-norm", "out-norm"}, 1);
  EXPECT_EQ(t.parameters.pairs.size(), 13u);
  const Adapter adapter = to_adapter(t.parameters, t.model);
  EXPECT_EQ(adapter.pairs.size(), 6u);
  EXPECT_FALSE(adapter.find("output_norm.weight"));
}

// alpha / rank of what is stored must do what alpha / sqrt(rank) does in training; and back.
TEST(Parameters, RsLoraIsFoldedIntoB) {
  const Trained plain({"wq"}, 4), rs({"wq"}, 4, true);
  EXPECT_EQ(plain.parameters.scale(plain.parameters.pairs[0]), 0.5f);
  EXPECT_EQ(rs.parameters.scale(rs.parameters.pairs[0]), 1.0f);
  const Adapter adapter = to_adapter(rs.parameters, rs.model);
  EXPECT_EQ(adapter.alpha, 2);
  EXPECT_EQ(adapter.pairs[0].b[0], 2 * rs.parameters.values[rs.parameters.pairs[0].b]);
  const LoraParameters again = make_parameters(adapter, true);
  EXPECT_EQ(again.values[again.pairs[0].b], rs.parameters.values[rs.parameters.pairs[0].b]);
  EXPECT_EQ(to_adapter(again, rs.model).pairs[0].b, adapter.pairs[0].b);
}

}  // namespace parameters_test
}  // namespace lora
