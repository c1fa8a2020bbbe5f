#include "model/weight_prefetch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "gguf/gguf.h"
#include "model/model.h"
#include "model/step.h"
#include "model/synthetic.h"

namespace lora {
namespace {

// A model of n equal stages of some pieces, swept up and down; what each sweep reads.
struct Sweeps {
  size_t n_stages, n_pieces;
  uint64_t piece_bytes;
  SweepCache cache;
  uint64_t there = 0, most = 0;

  Sweeps(size_t stages, size_t pieces, uint64_t bytes, uint64_t room)
      : n_stages(stages),
        n_pieces(pieces),
        piece_bytes(bytes),
        cache(std::vector(stages, std::vector<uint64_t>(pieces, bytes)), room) {}

  void account(const SweepCache::Move& move) {
    there += piece_bytes;
    there -= piece_bytes * move.evicted.size();
    most = std::max(most, there);
  }
  uint64_t pass(const std::vector<size_t>& order) {
    uint64_t read = 0;
    for (size_t at = 0; at < order.size(); ++at) {
      cache.enter(order, at);
      while (const auto move = cache.next()) {
        account(*move);
        read += piece_bytes;
      }
      for (size_t i = 0; i < n_pieces; ++i) EXPECT_TRUE(cache.is_there({order[at], i})) << at;
    }
    return read;
  }
};

std::vector<size_t> up_and_down(size_t n) {
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = n - 1; i-- > 0;) order.push_back(i);
  return order;
}

TEST(SweepCache, ReadsOnceWhereAllFits) {
  Sweeps s(9, 3, 10, 9 * 3 * 10);
  const auto order = up_and_down(9);
  EXPECT_EQ(s.pass(order), 9u * 3 * 10);
  EXPECT_EQ(s.pass(order), 0u);
}

// Each stage is there when it begins; from the second pass on, a sweep reads what there is no room for and no
// more.
TEST(SweepCache, ASweepReadsWhatTheRoomDoesNotHold) {
  for (const uint64_t room : {2 * 30u, 2 * 30u + 10u, 5 * 30u, 8 * 30u + 20u}) {
    Sweeps s(9, 3, 10, room);
    const auto order = up_and_down(9);
    s.pass(order);
    const uint64_t both = s.pass(order);
    EXPECT_EQ(both, 2 * (9 * 30 - room)) << room;
    EXPECT_EQ(s.pass(order), both) << room;
    EXPECT_LE(s.most, room);
  }
}

TEST(SweepCache, WhatIsNeededSoonerIsNeverGivenBack) {
  Sweeps s(6, 2, 10, 50);
  const auto order = up_and_down(6);
  for (size_t at = 0; at < order.size(); ++at) {
    s.cache.enter(order, at);
    while (const auto move = s.cache.next()) {
      const auto distance = [&](size_t stage) {
        size_t d = 0;
        while (order[(at + d) % order.size()] != stage) ++d;
        return d;
      };
      for (const auto& piece : move->evicted) EXPECT_GT(distance(piece.stage), distance(move->loaded.stage));
    }
  }
}

// A stage that is larger than the room: its first pieces, and no end.
TEST(SweepCache, AStageBeyondTheRoomIsReadAsFarAsItFits) {
  SweepCache cache({{10, 10, 10, 10}, {10}}, 20);
  const std::vector<size_t> order = {0, 1};
  cache.enter(order, 0);
  EXPECT_EQ(cache.next()->loaded, (SweepCache::Piece{0, 0}));
  EXPECT_EQ(cache.next()->loaded, (SweepCache::Piece{0, 1}));
  EXPECT_FALSE(cache.next());
  // What is asked for by name comes all the same.
  EXPECT_EQ(cache.load({0, 3}).loaded, (SweepCache::Piece{0, 3}));
  EXPECT_TRUE(cache.is_there({0, 3}));
}

TEST(SweepCache, SkippedPiecesAreReadWhenTheyAreAskedFor) {
  SweepCache cache({{10, 10}, {10, 10}}, 30);
  const std::vector<size_t> order = {0, 1, 0};
  const auto skip = [](SweepCache::Piece piece) { return piece.index == 1; };
  cache.enter(order, 0);
  EXPECT_EQ(cache.next(skip)->loaded, (SweepCache::Piece{0, 0}));
  EXPECT_EQ(cache.next(skip)->loaded, (SweepCache::Piece{1, 0}));
  EXPECT_FALSE(cache.next(skip));
  cache.load({0, 1});
  cache.enter(order, 1);
  const SweepCache::Move move = cache.load({1, 1});
  EXPECT_THAT(move.evicted, testing::ElementsAre(SweepCache::Piece{0, 1}));
}

TEST(SweepOrder, TurnsAtTheTop) {
  EXPECT_THAT(sweep_order(4, 1, Sweep::up), testing::ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(sweep_order(4, 1, Sweep::down), testing::ElementsAre(3, 2, 1));
  EXPECT_THAT(sweep_order(4, 1, Sweep::up_and_down), testing::ElementsAre(0, 1, 2, 3, 2, 1));
  EXPECT_THAT(sweep_order(1, 0, Sweep::up_and_down), testing::ElementsAre(0));
}

// Nine stages of 30 bytes, of which memory holds `room`, that compute for one second each.
SweepWork nine_stages(uint64_t room) {
  return {std::vector(9, std::vector<uint64_t>(3, 10)), room, up_and_down(9), std::vector(17, 1.0)};
}

TEST(SweepCost, IsThatOfComputingWhereTheDiskIsFastOrMemoryHoldsAll) {
  const SweepCost held = sweep_cost(nine_stages(9 * 30), 1);
  EXPECT_EQ(held.seconds, 17);
  EXPECT_EQ(held.bytes, 0);
  const SweepCost fast = sweep_cost(nine_stages(3 * 30), 1e9);
  EXPECT_NEAR(fast.seconds, 17, 1e-6);
  EXPECT_EQ(fast.bytes, 2 * (9 - 3) * 30);
}

// A stage takes a second to compute, one and two to read; there is room for three.
TEST(SweepCost, IsThatOfReadingWhereThatTakesLonger) {
  const SweepWork work = nine_stages(3 * 30);
  const double read_s = 2 * (9 - 3) * 30;
  EXPECT_NEAR(sweep_cost(work, 30).seconds, 17, 1e-6);
  const double slow = sweep_cost(work, 15).seconds;
  EXPECT_GE(slow, read_s / 15);
  EXPECT_LT(slow, read_s / 15 + 17 - 6);  // what is read while others compute is not waited for
  EXPECT_NEAR(sweep_cost(work, 1, 1e-6).seconds, read_s, 1e-3);
  EXPECT_NEAR(sweep_cost(work, 15, 3).seconds, 3 * 17, 1e-6);
}

TEST(SweepCost, HidesFromAScaleOn) {
  const SweepWork work = nine_stages(3 * 30);
  for (const double rate : {1.0, 15.0, 1000.0}) {
    const double scale = hiding_scale(work, rate, 0.05);
    EXPECT_LE(sweep_cost(work, rate, scale).seconds, 1.05 * scale * 17) << rate;
    EXPECT_GT(sweep_cost(work, rate, 0.99 * scale).seconds, 1.05 * 0.99 * scale * 17) << rate;
  }
}

TEST(StageWeights, AreAllThatAModelMultipliesWith) {
  const Model model = load_model(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  const auto stages = stage_weights(model, model.layers);
  ASSERT_EQ(stages.size(), model.layers.size() + 1);
  uint64_t bytes = 0;
  for (const GgufTensor& tensor : model.gguf.tensors()) {
    if (tensor.ne[1] > 1 && (model.tied || tensor.name != "token_embd.weight")) bytes += tensor.data.size();
  }
  EXPECT_EQ(weight_bytes(stages), bytes);
  EXPECT_EQ(least_room(stages), std::max(stages[0].bytes() + stages[1].bytes(),
                                         stages[stages.size() - 2].bytes() + stages.back().bytes()));
  EXPECT_EQ(weight_room(model, 1000, model.gguf.file_bytes()), least_room(model));
  EXPECT_EQ(weight_room(model, model.gguf.file_bytes() + 1000, 1000), std::nullopt);
}

// Experts that few tokens choose are read once they are chosen; others ahead. The bits are the same.
TEST(WeightPrefetch, OfExpertsGivesTheSameLosses) {
  const SyntheticShape shape = {
      "tiny",     4,  256,
      512,        4,  2,
      512,        64, 10000,
      "qwen3moe", 64, {{"expert_count", 16}, {"expert_used_count", 1}, {"expert_feed_forward_length", 256}}};
  ThreadPool pool(2);
  const SyntheticModel synthetic = make_synthetic(shape, "q8_0", pool);
  const Model& model = synthetic.model;
  const auto stages = stage_weights(model, model.layers);
  EXPECT_EQ(stages[0].used, 1.0 / 16);
  EXPECT_EQ(stages[0].experts.size(), 3u * 16);
  const auto bytes_of_experts = [&](double n_tokens) {  // they come last
    const auto pieces = piece_bytes(stages, n_tokens)[0];
    return std::accumulate(pieces.end() - 3 * 16, pieces.end(), 0.0);
  };
  EXPECT_NEAR(bytes_of_experts(1), bytes_of_experts(1e9) / 16, 48);  // each rounded
  EXPECT_NEAR(bytes_of_experts(2), bytes_of_experts(1e9) * (1 - 15.0 * 15 / 256), 48);
  for (const int64_t n : {2, 40}) {
    std::vector<int32_t> ids(static_cast<size_t>(n)), positions(ids.size());
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = int32_t(i * 37 % 512), positions[i] = int32_t(i);
    const AttentionSegment segment{0, n, 0, n};
    const auto losses = [&](std::optional<uint64_t> room) {
      StepPlan plan = plan_step(model, n, n, 0, false, GemmInput::f32, pool.size());
      plan.weight_room = room;
      Step step(model, plan, GemmInput::f32, pool);
      std::vector<double> result(ids.size());
      for (int i = 0; i < 3; ++i) step.losses(result.data(), {ids, ids, positions, {&segment, 1}});
      return result;
    };
    EXPECT_EQ(losses(least_room(stages)), losses({})) << n;
    EXPECT_EQ(losses(1), losses({})) << n;
  }
}

}  // namespace
}  // namespace lora
