// What every family gets from the table alone: a tiny model written from its own specification
// (tiny_models.h), against a double interpreter of the same layers (model/reference.h) and against itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>

#include "adapter/adapter.h"
#include "adapter/norms.h"
#include "adapter/parameters.h"
#include "gguf/test_files.h"
#include "kernels/gemm_int8/gemm_int8.h"
#include "model/decoder.h"
#include "model/reference.h"
#include "model/step.h"
#include "tiny_models.h"

namespace lora {
namespace families_test {

using test::all_pairs;
using test::TinyModel;

// A norm of the difference over the norm of what is wanted.
double relative_difference(std::span<const float> got, std::span<const double> want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += (double(got[i]) - want[i]) * (double(got[i]) - want[i]);
    norm += want[i] * want[i];
  }
  return std::sqrt(difference / norm);
}

double relative_difference(std::span<const float> got, std::span<const float> want) {
  return relative_difference(got, std::vector<double>(want.begin(), want.end()));
}

// Texts of random tokens, end to end.
struct Texts {
  explicit Texts(const std::vector<int64_t>& lengths) {
    for (const int64_t length : lengths) {
      const int64_t begin = int64_t(ids.size());
      for (int64_t i = 0; i < length; ++i) {
        ids.push_back(int32_t(random_bits(3, Purpose::test, 1, ids.size()) % uint64_t(test::kTinyVocab)));
        positions.push_back(int32_t(i));
      }
      for (int64_t i = 0; i < length; ++i)
        targets.push_back(i + 1 < length ? ids[size_t(begin + i + 1)] : -1);
      segments.push_back({begin, length, begin, length});
      longest = std::max(longest, length);
    }
  }
  StepTokens tokens() const { return {ids, targets, positions, segments}; }
  int64_t size() const { return int64_t(ids.size()); }

  std::vector<int32_t> ids, targets, positions;
  std::vector<AttentionSegment> segments;
  int64_t longest = 0;
};

// A family as a dense model, or with experts, or both; and as older files have it.
struct Case {
  const Architecture* architecture;
  bool experts, older = false;
};
std::vector<Case> cases() {
  std::vector<Case> result;
  for (const Architecture* architecture : architectures()) {
    result.push_back({architecture, false});
    if (test::may_have_experts(*architecture)) result.push_back({architecture, true});
    if (architecture->name == "deepseek2") result.push_back({architecture, true, true});
  }
  return result;
}

class Family : public testing::TestWithParam<Case> {
 protected:
  Family()
      : file_(std::string(GetParam().architecture->name) + ".gguf"),
        written_(*GetParam().architecture, file_.path,
                 {.experts = GetParam().experts, .older = GetParam().older}),
        model(load_model(file_.path)) {}

  Model load() const { return load_model(file_.path); }

  struct Passed {
    std::vector<double> losses;
    std::vector<float> gradients;
    bool operator==(const Passed&) const = default;
  };
  // Losses, and gradients added to parameters' zeros.
  Passed run(LoraParameters& parameters, const Texts& texts, int64_t n_kept, int n_threads = 2,
             Arithmetic arithmetic = GemmInput::f32) {
    return run_model(model, parameters, texts, n_kept, n_threads, arithmetic);
  }
  Passed run_model(const Model& of, LoraParameters& parameters, const Texts& texts, int64_t n_kept,
                   int n_threads, Arithmetic arithmetic) {
    ThreadPool pool(n_threads);
    std::ranges::fill(parameters.gradients.span(), 0.0f);
    Step step(of, plan_step(of, texts.size(), texts.longest, n_kept, true, arithmetic, n_threads), arithmetic,
              pool);
    Passed passed{std::vector<double>(texts.ids.size()), {}};
    step.losses_and_gradients(passed.losses.data(), texts.tokens(), 1, uint64_t{3});
    passed.gradients.assign(parameters.gradients.span().begin(), parameters.gradients.span().end());
    peak = step.peak_bytes();
    return passed;
  }

  std::vector<float> logits(const Texts& texts) {
    ThreadPool pool(2);
    Step step(model, plan_step(model, texts.size(), texts.longest, 0, false, GemmInput::f32, 2),
              GemmInput::f32, pool);
    std::vector<float> all(texts.ids.size() * size_t(test::kTinyVocab));
    step.logits(all.data(), texts.tokens());
    return all;
  }

 private:
  test::ScratchFile file_;
  TinyModel written_;

 protected:
  Model model;
  int64_t peak = 0;
};

// A dozen sums of up to a hundred products each per layer, rounded by half of the last bit, 6e-8.
constexpr double kRounding = 2e-5;

// In parts, each a step of its own over a model that has the weights of its layers alone, one batch in flight
// behind another.
TEST_P(Family, PartsComputeTheSame) {
  const bool ends = !reads_embedding(model);
  LoraParameters parameters = test::all_pairs(model, ends);
  parameters.dropout = 0.2f;
  attach(model, parameters);
  const Texts texts({9, 20, 1, 12}), shorter({3});
  const int64_t n_embd = model.config.n_embd;
  const Passed want = run(parameters, texts, 2), want_shorter = run(parameters, shorter, 2);
  ThreadPool pool(2);
  for (const int64_t n : {2, 3, 5}) {
    std::vector<NetworkPart> parts;
    try {
      parts = network_parts(model, n);
    } catch (const Error&) {
      EXPECT_GT(kv_slots(model), 0u);
      continue;
    }
    for (const int64_t n_kept : {0, 1, 5}) {
      std::ranges::fill(parameters.gradients.span(), 0.0f);
      std::deque<Model> models;
      std::deque<Step> steps;
      for (NetworkPart part : parts) {
        part.n_flight = 2;
        Model& own = models.emplace_back(load());
        attach(own, parameters);
        for (int64_t i = 0; i < own.config.n_layer; ++i) {
          if (i >= part.layers.begin && i < part.layers.end()) continue;
          for_each_weight(own.layers[size_t(i)], [](MatrixView& w) { w.data = nullptr; });
        }
        if (!part.has_embedding && ends) own.embedding.table.data = nullptr;
        if (!part.has_head) own.output.w.data = nullptr;
        steps.emplace_back(own,
                           plan_step(own, texts.size(), texts.longest, n_kept, true, GemmInput::f32, 2, part),
                           GemmInput::f32, pool);
      }
      struct Pass {
        const Texts* texts;
        int64_t flight;
        std::vector<double> losses;
        std::vector<float*> streams;
      };
      const auto up = [&](const Texts& of, int64_t flight) {
        Pass pass{&of, flight, std::vector<double>(of.ids.size()), {nullptr}};
        for (Step& step : steps)
          pass.streams.push_back(step.up(flight, of.tokens(), pass.streams.back(), uint64_t{3}));
        return pass;
      };
      const auto down = [&](Pass& pass) {
        std::ranges::fill(parameters.gradients.span(), 0.0f);
        steps.back().head(pass.flight, pass.losses.data(), pass.texts->targets, 1);
        for (size_t p = steps.size(); p-- > 0;) {
          if (p + 1 < steps.size())
            std::copy_n(pass.streams[p + 2], int64_t(pass.texts->ids.size()) * n_embd, pass.streams[p + 1]);
          steps[p].down(pass.flight);
        }
        const auto all = parameters.gradients.span();
        return Passed{pass.losses, {all.begin(), all.end()}};
      };
      Pass first = up(texts, 0), second = up(shorter, 1);
      EXPECT_EQ(down(first), want) << n << " parts, " << n_kept << " kept";
      first = up(texts, 0);
      EXPECT_EQ(down(second), want_shorter) << n << " parts, " << n_kept << " kept";
      EXPECT_EQ(down(first), want) << n << " parts, " << n_kept << " kept";
    }
  }
}

TEST_P(Family, GradientsOfEveryPairAreTheSlopesOfTheReference) {
  LoraParameters parameters = all_pairs(model);
  const Attached attached(model, parameters);
  const Texts texts({13, 1, 9});
  const Passed got = run(parameters, texts, 2);
  std::vector<double> values(parameters.values.span().begin(), parameters.values.span().end());
  const ModelReference<double> reference(model, parameters.values.span(), values, texts.positions,
                                         texts.segments);
  const double loss = reference.loss(texts.ids, texts.targets);
  EXPECT_NEAR(std::accumulate(got.losses.begin(), got.losses.end(), 0.0) / loss, 1, kRounding);
  // Along a random direction of all layers' matrices of one name: a number that every element has a part in.
  // Elements one by one would take hours.
  std::map<std::string, std::vector<std::pair<int64_t, int64_t>>> groups;  // begin and size of the matrices
  for (const auto& pair : parameters.pairs) {
    const std::string name = pair.base.substr(pair.base.starts_with("blk.") ? pair.base.find('.', 4) : 0);
    groups[name + " lora_a"].emplace_back(pair.a, pair.a_size());
    groups[name + " lora_b"].emplace_back(pair.b, pair.b_size());
  }
  for (const auto& [name, matrices] : groups) {
    std::vector<double> above = values, below = values;
    constexpr double kStep = 1e-5;
    double slope = 0, squares = 0;
    for (const auto& [begin, n] : matrices) {
      double matrix_squares = 0;
      for (int64_t i = begin; i < begin + n; ++i) {
        const double direction = 2 * random_uniform(4, Purpose::test, 2, uint64_t(i)) - 1;
        above[size_t(i)] += kStep * direction;
        below[size_t(i)] -= kStep * direction;
        slope += direction * double(got.gradients[size_t(i)]);
        matrix_squares += std::pow(double(got.gradients[size_t(i)]), 2);
      }
      EXPECT_GT(matrix_squares, 0) << name << " does not matter";
      squares += matrix_squares;
    }
    const auto loss_at = [&](const std::vector<double>& at) {
      return ModelReference<double>(model, parameters.values.span(), at, texts.positions, texts.segments)
          .loss(texts.ids, texts.targets);
    };
    EXPECT_NEAR(slope, (loss_at(above) - loss_at(below)) / (2 * kStep), 5e-5 * std::sqrt(squares) + 1e-7)
        << name;
  }
}

TEST_P(Family, LogitsAreTheReferences) {
  LoraParameters parameters = all_pairs(model);
  const Attached attached(model, parameters);
  const Texts texts({21, 2, 30});
  const std::vector<double> values(parameters.values.span().begin(), parameters.values.span().end());
  const ModelReference<double> reference(model, parameters.values.span(), values, texts.positions,
                                         texts.segments);
  EXPECT_LT(relative_difference(logits(texts), reference.logits(texts.ids)), kRounding);
}

// How much more rounding matters where experts are chosen by groups: where it decides between two groups, it
// decides on all experts of them.
double group_share(const Model& model) {
  return model.config.experts.router.n_group > 1 ? 3 : 1;
}

// bf16 rounds by half of 2^-8, and five layers of small sums pass it on; queries and keys of a delta net that
// are made as long as one, with it.
TEST_P(Family, Bf16IsNear) {
  LoraParameters parameters = all_pairs(model);
  const Attached attached(model, parameters);
  const Texts texts({21, 2, 30});
  const Passed f32 = run(parameters, texts, 0), bf16 = run(parameters, texts, 0, 2, GemmInput::bf16);
  const double difference = relative_difference(bf16.gradients, std::span<const float>(f32.gradients));
  // Or on which of two experts that are nearly as good.
  EXPECT_LT(difference, (model.config.experts.router.n_expert > 0 ? 0.3 : 0.2) * group_share(model));
  EXPECT_GT(difference, 1e-4) << "nothing was rounded";
}

// Gains before and behind bodies, of both kinds of norm; where two bodies read one norm both have a part.
// Along the gradient g the loss changes by eps |g|: central differences of f32 sums.
TEST_P(Family, TrainedNormsHaveTheSlopeOfTheLoss) {
  std::vector<LoraParameters::Pair> pairs;
  for (int64_t i = 0; i < model.config.n_layer; ++i) {
    for_each_norm(model.layers[size_t(i)], [&](const Norm& norm) {
      pairs.push_back({fmt::format("blk.{}.{}.weight", i, norm.tensor), norm.n(), 1, 1, 0, 0});
    });
  }
  if (model.find_norm("output_norm.weight"))
    pairs.push_back({"output_norm.weight", model.output_norm.n(), 1, 1, 0, 0});
  EXPECT_EQ(pairs.empty(), !model.config.norms_have_gain);
  if (pairs.empty()) return;
  LoraParameters parameters = make_parameters(std::move(pairs), 1, false);
  for (int64_t i = 0; i < parameters.values.size(); ++i)
    parameters.values[i] = float(0.4 * random_uniform(6, Purpose::test, 1, uint64_t(i)) - 0.2);
  TrainedNorms norms(model, parameters);
  const Texts texts({13, 1, 9});
  const auto pass = [&] {
    norms.apply();
    const Passed passed = run(parameters, texts, 1);
    norms.add_gradients();
    return std::accumulate(passed.losses.begin(), passed.losses.end(), 0.0);
  };
  pass();
  const std::vector<float> g(parameters.gradients.span().begin(), parameters.gradients.span().end());
  const double norm = std::sqrt(std::inner_product(g.begin(), g.end(), g.begin(), 0.0));
  ASSERT_GT(norm, 0.1);
  const auto moved = [&](double by) {
    for (size_t i = 0; i < g.size(); ++i) parameters.values[int64_t(i)] += float(by * double(g[i]) / norm);
    const double loss = pass();
    for (size_t i = 0; i < g.size(); ++i) parameters.values[int64_t(i)] -= float(by * double(g[i]) / norm);
    return loss;
  };
  const double eps = 0.02 / norm;
  EXPECT_NEAR((moved(eps) - moved(-eps)) / (2 * eps * norm), 1, 0.03);
}

TEST_P(Family, WhatIsKeptAndHowManyThreadsChangesNoBit) {
  LoraParameters parameters = all_pairs(model);
  const Attached attached(model, parameters);
  const Texts texts({40, 3, 17});
  for (const GemmInput input : {GemmInput::f32, GemmInput::bf16}) {
    const Passed want = run(parameters, texts, 0, 1, input);
    for (const int64_t n_kept : {1, 3, 5})
      EXPECT_EQ(run(parameters, texts, n_kept, 1, input), want) << n_kept;
    EXPECT_EQ(run(parameters, texts, 2, 4, input), want);
  }
}

// Adapters on the upper blocks alone have the gradients, to the bit, that they have where others below add
// nothing, and the plan has no room for what is below.
TEST_P(Family, TheBackwardPassEndsAtTheLowestBlockThatIsTrained) {
  LoraParameters all = all_pairs(model, false);
  Texts texts({40, 3, 17});
  for (int32_t& target : texts.targets) target = std::max(target, 0);  // the head has all that it plans for
  for (const int64_t first : {int64_t{1}, model.config.n_layer - 2, model.config.n_layer - 1}) {
    std::vector<LoraParameters::Pair> pairs;
    for (auto& pair : all.pairs) {
      if (*block_of(pair.base) >= first)
        pairs.push_back(pair);
      else
        std::fill_n(&all.values[pair.b], pair.b_size(), 0.0f);
    }
    LoraParameters upper = make_parameters(pairs, all.alpha, false);
    for (size_t i = 0; i < pairs.size(); ++i) {
      std::copy_n(&all.values[pairs[i].a], pairs[i].a_size(), &upper.values[upper.pairs[i].a]);
      std::copy_n(&all.values[pairs[i].b], pairs[i].b_size(), &upper.values[upper.pairs[i].b]);
    }
    const auto plan = [&](int64_t n_kept) {
      return plan_step(model, texts.size(), texts.longest, n_kept, true, GemmInput::f32, 2);
    };
    std::vector<double> losses;
    int64_t whole_bytes = 0;
    {
      const Attached attached(model, all);
      losses = run(all, texts, 0).losses;
      whole_bytes = plan(0).arena_bytes();
    }
    const Attached attached(model, upper);
    EXPECT_EQ(plan(0).n_below, first);
    EXPECT_EQ(plan(99).n_kept, model.config.n_layer - first);
    if (first > 1) {
      EXPECT_LT(plan(0).arena_bytes(), whole_bytes);
    }
    for (const int64_t n_kept : {0, 1, 5}) {
      EXPECT_EQ(run(upper, texts, n_kept).losses, losses) << first;
      EXPECT_EQ(peak, plan(n_kept).arena_bytes()) << first << ", kept " << n_kept;
      for (size_t i = 0; i < pairs.size(); ++i) {
        const auto same = [&](int64_t in_all, int64_t in_upper, int64_t n) {
          return std::equal(&all.gradients[in_all], &all.gradients[in_all] + n, &upper.gradients[in_upper]);
        };
        EXPECT_TRUE(same(pairs[i].a, upper.pairs[i].a, pairs[i].a_size()) &&
                    same(pairs[i].b, upper.pairs[i].b, pairs[i].b_size()))
            << pairs[i].base << " from " << first << ", kept " << n_kept;
      }
    }
  }
}

// The head and the last norm are trained without any block.
TEST_P(Family, NothingButTheHeadIsTrainedWithoutABackwardPassOfBlocks) {
  if (model.tied) return;
  LoraParameters both = make_parameters(model, {{"output", 2}, {"token_embd", 1}}, 4, 1);
  LoraParameters head = make_parameters(model, {{"output", 2}}, 4, 1);
  const Texts texts({20, 9});
  std::vector<float> want;
  {
    const Attached attached(model, both);
    want = run(both, texts, 0).gradients;
  }
  const Attached attached(model, head);
  const StepPlan plan = plan_step(model, texts.size(), texts.longest, 3, true, GemmInput::f32, 2);
  EXPECT_EQ(plan.n_below, model.config.n_layer);
  EXPECT_EQ(plan.activation_bytes, 0);
  const Passed passed = run(head, texts, 3);
  EXPECT_EQ(peak, plan.arena_bytes());
  const auto& then = both.pairs.back().base == "output.weight" ? both.pairs.back() : both.pairs.front();
  EXPECT_TRUE(std::equal(&head.gradients[head.pairs[0].b],
                         &head.gradients[head.pairs[0].b] + head.pairs[0].b_size(), &want[size_t(then.b)]));
}

TEST_P(Family, PackedTextsAreApart) {
  LoraParameters parameters = all_pairs(model);
  const Attached attached(model, parameters);
  const Texts both({19, 33});
  const Passed packed = run(parameters, both, 0);
  std::vector<double> alone;
  std::vector<float> sum(packed.gradients.size());
  for (const AttentionSegment& s : both.segments) {
    Texts one({s.n_q});
    const auto cut = [&](const std::vector<int32_t>& v) {
      return std::vector<int32_t>(v.begin() + s.q_begin, v.begin() + s.q_begin + s.n_q);
    };
    one.ids = cut(both.ids), one.targets = cut(both.targets);
    const Passed passed = run(parameters, one, 0);
    alone.insert(alone.end(), passed.losses.begin(), passed.losses.end());
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += passed.gradients[i];
  }
  for (size_t t = 0; t < alone.size(); ++t)
    EXPECT_NEAR(packed.losses[t], alone[t], 2e-5 * (1 + alone[t])) << t;
  EXPECT_LT(relative_difference(packed.gradients, std::span<const float>(sum)), 1e-5);
}

TEST_P(Family, TokenByTokenIsTheWholePrompt) {
  LoraParameters parameters = all_pairs(model);
  const Attached attached(model, parameters);
  const Texts text({37});
  const std::vector<float> want = logits(text);
  ThreadPool pool(2);
  for (const std::vector<size_t>& pieces : {std::vector<size_t>(37, 1), {37}, {1, 20, 2, 14}}) {
    Decoder decoder(model, {.n_ctx = 37, .n_batch = 16, .precision = Precision::f32}, pool);
    size_t at = 0;
    for (const size_t piece : pieces) {
      const auto got = decoder.append(std::span(text.ids).subspan(at, piece));
      at += piece;
      EXPECT_LT(relative_difference(got, std::span(want).subspan((at - 1) * size_t(test::kTinyVocab),
                                                                 size_t(test::kTinyVocab))),
                kRounding)
          << at;
    }
  }
}

// Rounded keys and values change little; what a window has lost is asked for again.
TEST_P(Family, CachesOfOtherTypesAreNearAndForgetRightly) {
  const Texts text({60});
  ThreadPool pool(2);
  const auto last = [&](Type type, int64_t keep) {
    Decoder decoder(model, {.n_ctx = 60, .n_batch = 4, .precision = Precision::f32, .cache_type = type},
                    pool);
    decoder.append(text.ids);
    const int64_t kept = keep >= 0 ? decoder.keep(keep) : 60;
    const auto logits = kept < 60 ? decoder.append(std::span(text.ids).subspan(size_t(kept)))
                                  : (decoder.keep(0), decoder.append(text.ids));
    return std::pair(std::vector<float>(logits.begin(), logits.end()), kept);
  };
  const auto [want, all] = last(Type::F32, -1);
  EXPECT_LT(relative_difference(last(Type::F16, -1).first, std::span<const float>(want)), 1e-2);
  // A window of 5 in a ring of 5 - 1 + 4 rows: the last token may go, the last ten may not. What tokens have
  // come to in a state cannot go back at all.
  bool has_window = false, has_state = false;
  for (const Layer& layer : model.layers) {
    for_each_past(layer, [&](const PastShape& past) {
      has_window |= past.window > 0;
      has_state |= past.n_state > 0;
    });
  }
  for (const int64_t keep : {0, 30, 50, 59}) {
    const auto [logits, kept] = last(Type::F32, keep);
    EXPECT_EQ(kept, has_state || (has_window && keep < 59) ? 0 : keep);
    EXPECT_LT(relative_difference(logits, std::span<const float>(want)), kRounding) << keep;
  }
}

// Q8_0 weights meet activations of 8 bits, a prompt's and a token's, in a plan of their own.
TEST_P(Family, QuantizedWeightsGenerateNearly) {
  const test::ScratchFile file("quantized.gguf");
  const TinyModel written(*GetParam().architecture, file.path,
                          {.type = Type::Q8_0, .experts = GetParam().experts, .older = GetParam().older});
  const Model quantized = load_model(file.path);
  const Texts text({25});
  ThreadPool pool(2);
  const auto logits = [&](Precision precision) {
    Decoder decoder(quantized, {.n_ctx = 25, .precision = precision}, pool);
    decoder.append(std::span(text.ids).first(20));
    for (size_t i = 20; i < 24; ++i) decoder.append({&text.ids[i], 1});
    const auto last = decoder.append({&text.ids[24], 1});
    return std::vector<float>(last.begin(), last.end());
  };
  const std::vector<float> want = logits(Precision::f32);
  EXPECT_LT(relative_difference(logits(Precision::automatic), std::span<const float>(want)),
            0.2 * group_share(quantized));
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 1e-60, bb = 1e-60;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += double(a[i]) * double(b[i]);
    aa += double(a[i]) * double(a[i]);
    bb += double(b[i]) * double(b[i]);
  }
  return ab / std::sqrt(aa * bb);
}

// Forward and backward in 8-bit integers where weights have such products, which here are all but a few
// floats: any plan and number of threads give the same bits and take what was planned.
TEST_P(Family, Int8IsNearAndOfTheSameBits) {
  if (!has_int8_gemm()) GTEST_SKIP() << "no products in 8-bit integers";
  const test::ScratchFile file("quantized.gguf");
  const TinyModel written(*GetParam().architecture, file.path,
                          {.type = Type::Q8_0, .experts = GetParam().experts, .older = GetParam().older});
  Model quantized = load_model(file.path);
  LoraParameters parameters = all_pairs(quantized);
  const Attached attached(quantized, parameters);
  const Texts texts({40, 40, 40, 20});
  const GradientBytes bytes = quantized.config.architecture->gradient_bytes;
  const Arithmetic int8 = {GemmInput::f32, true, bytes != GradientBytes::one};
  const Passed f32 = run_model(quantized, parameters, texts, 2, 2, GemmInput::f32);
  const Passed want = run_model(quantized, parameters, texts, 2, 1, int8);
  const double difference = relative_difference(want.gradients, std::span<const float>(f32.gradients));
  if (int8_training().bytes == TokenBytes::two) {
    // By and large as near as bf16, of which `auto` expects as much.
    const Passed bf16 = run_model(quantized, parameters, texts, 2, 2, GemmInput::bf16);
    const double of_bf16 = relative_difference(bf16.gradients, std::span<const float>(f32.gradients));
    fmt::print("{}: gradients differ from f32's by {:.4f} in int8, {:.4f} in bf16\n",
               quantized.config.architecture->name, difference, of_bf16);
    EXPECT_LT(difference, 2 * of_bf16);
  } else {
    // Of 8 bits blocks are some two times as coarse as bf16, forward and back.
    EXPECT_LT(difference,
              (quantized.config.experts.router.n_expert > 0 ? 0.5 : 0.3) * group_share(quantized));
  }
  EXPECT_GT(difference, 1e-4) << "nothing was rounded";
  double least = 1;
  std::string worst;
  for (const auto& pair : parameters.pairs) {
    for (const auto& [at, n] : {std::pair{pair.a, pair.a_size()}, std::pair{pair.b, pair.b_size()}}) {
      const double c = cosine(std::span(want.gradients).subspan(size_t(at), size_t(n)),
                              std::span(f32.gradients).subspan(size_t(at), size_t(n)));
      if (c < least) least = c, worst = pair.base;
    }
  }
  fmt::print("{}: the smallest cosine of a tensor's gradients is {:.4f} ({})\n",
             quantized.config.architecture->name, least, worst);
  if (int8_training().bytes == TokenBytes::two) {
    EXPECT_EQ(least >= 0.999, bytes != GradientBytes::floats) << worst;
  }
  for (const int64_t n_kept : {0, 5}) {
    EXPECT_EQ(run_model(quantized, parameters, texts, n_kept, 4, int8), want) << n_kept;
    EXPECT_EQ(peak, plan_step(quantized, texts.size(), texts.longest, n_kept, true, int8, 4).arena_bytes());
  }
}

TEST_P(Family, WhatWasPlannedIsTaken) {
  LoraParameters parameters = all_pairs(model);
  const Attached attached(model, parameters);
  for (const int64_t n : {3, 40, 130}) {
    for (const int64_t n_kept : {0, 2, 5}) {
      const StepPlan plan = plan_step(model, n, n, n_kept, true, GemmInput::f32, 2);
      run(parameters, Texts({n}), n_kept);
      EXPECT_EQ(peak, plan.arena_bytes()) << n << " tokens, " << n_kept << " kept";
    }
  }
  // As many targets as the head takes at once, which the plan counts on.
  const StepPlan bf16 = plan_step(model, 140, 40, 2, true, GemmInput::bf16, 2);
  run(parameters, Texts({40, 40, 40, 20}), 2, 2, GemmInput::bf16);
  EXPECT_EQ(peak, bf16.arena_bytes()) << "bf16, packed";
  ThreadPool pool(2);
  const Texts text({70});
  const StepPlan losses = plan_step(model, 70, 70, 0, false, GemmInput::f32, 2);
  Step step(model, losses, GemmInput::f32, pool);
  std::vector<double> values(70);
  std::vector<int32_t> targets(text.ids.begin(), text.ids.end());
  step.losses(values.data(), {text.ids, targets, text.positions, text.segments});
  EXPECT_EQ(step.peak_bytes(), losses.arena_bytes()) << "losses alone";
  Decoder decoder(model, {.n_ctx = 70, .n_batch = 30}, pool);
  decoder.append(text.ids);
  EXPECT_LE(decoder.peak_bytes(), decoder.planned_bytes());
  EXPECT_GT(decoder.peak_bytes(), decoder.planned_bytes() / 2);
}

TEST_P(Family, AnAdapterComesBackFromItsFile) {
  LoraParameters parameters = all_pairs(model);
  const Adapter adapter = to_adapter(parameters, model);
  const test::ScratchFile file("adapter.gguf");
  write_adapter_gguf(adapter, file.path);
  const Adapter back = read_adapter(file.path, model.gguf);
  ASSERT_EQ(back.pairs.size(), adapter.pairs.size());
  for (const LoraPair& pair : adapter.pairs) {
    const LoraPair* found = back.find(pair.base);
    ASSERT_TRUE(found) << pair.base;
    EXPECT_EQ(found->a, pair.a);
    EXPECT_EQ(found->b, pair.b);
  }
}

// DeepSeek's mscale_all_dim m makes scores (1 + 0.1 m ln f)^2 larger and leaves cos and sin; files without
// the key have it in both, as llama.cpp computes them.
TEST(Latents, YarnScalesScores) {
  const auto config = [](double log_multiplier) {
    std::vector<std::pair<std::string, GgufValue>> keys = {
        {"general.architecture", {GgufValueType::string, {}, std::string("deepseek2")}},
        {"deepseek2.rope.scaling.type", {GgufValueType::string, {}, std::string("yarn")}},
        {"deepseek2.rope.scaling.factor", {GgufValueType::f32, {}, 40.0}},
        {"deepseek2.attention.layer_norm_rms_epsilon", {GgufValueType::f32, {}, 1e-6}}};
    for (const auto& [name, value] : {std::pair<const char*, uint64_t>{"block_count", 2},
                                      {"embedding_length", 64},
                                      {"feed_forward_length", 64},
                                      {"attention.head_count", 4},
                                      {"attention.kv_lora_rank", 16},
                                      {"attention.key_length_mla", 24},
                                      {"attention.value_length_mla", 16},
                                      {"rope.dimension_count", 8},
                                      {"rope.scaling.original_context_length", 64},
                                      {"context_length", 4096}}) {
      keys.emplace_back(fmt::format("deepseek2.{}", name), GgufValue{GgufValueType::u32, {}, value});
    }
    if (log_multiplier != 0) {
      keys.emplace_back("deepseek2.rope.scaling.yarn_log_multiplier",
                        GgufValue{GgufValueType::f32, {}, log_multiplier});
    }
    return config_of_keys(Gguf::of_values("keys", keys), 300);
  };
  const double log_factor = 0.1 * std::log(40.0), plain = 1 / std::sqrt(24.0);
  for (const double m : {1.0, 0.707}) {
    const ModelConfig c = config(0.1 * m);
    EXPECT_NEAR(double(c.attention_scale), plain * std::pow(1 + m * log_factor, 2), 1e-6);
    EXPECT_NEAR(make_rope_table(c.rope, 2).cos[0], 1, 1e-6);
  }
  const ModelConfig without = config(0);
  EXPECT_NEAR(double(without.attention_scale), plain * std::pow(1 + log_factor, 2), 1e-6);
  EXPECT_NEAR(double(make_rope_table(without.rope, 2).cos[0]), 1 + log_factor, 1e-6);
}

// A file whose states would grow from token to token is of no model.
TEST(States, FadeOrTheFileIsRefused) {
  for (const char* family : {"mamba2", "granitehybrid", "falcon-h1", "nemotron_h", "qwen35", "qwen3next"}) {
    const test::ScratchFile file(std::string(family) + "-grows.gguf");
    const TinyModel written(*find_architecture(family), file.path);
    std::string name, before;
    {
      const Gguf gguf = Gguf::open(file.path);
      for (const GgufTensor& tensor : gguf.tensors()) {
        if (!tensor.name.ends_with(".ssm_a")) continue;
        name = tensor.name;
        before.assign(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
      }
    }
    std::ifstream in(file.path, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const size_t at = bytes.find(before);
    ASSERT_NE(at, bytes.npos) << family;
    for (const float value : {0.5f, std::numeric_limits<float>::quiet_NaN()}) {
      std::memcpy(&bytes[at], &value, sizeof(value));
      std::ofstream(file.path, std::ios::binary) << bytes;
      EXPECT_THAT(test::error_of([&] { load_model(file.path); }),
                  testing::AllOf(testing::HasSubstr(file.path + ": tensor " + name + ": "),
                                 testing::HasSubstr("makes no sense: states would grow without end")));
    }
  }
}

TEST(PositionTable, EndsTheContext) {
  const test::ScratchFile file("positions.gguf");
  const TinyModel written(*find_architecture("gpt2"), file.path);
  const Model model = load_model(file.path);
  const char* what =
      "a context of 513 tokens: gpt2 models have a table of positions, and this one's ends at 512";
  plan_step(model, 512, 512, 0, true, GemmInput::f32, 2);
  EXPECT_EQ(test::error_of([&] { plan_step(model, 600, 513, 0, true, GemmInput::f32, 2); }), what);
  ThreadPool pool(2);
  EXPECT_EQ(test::error_of([&] { Decoder(model, {.n_ctx = 513}, pool); }), what);
}

INSTANTIATE_TEST_SUITE_P(All, Family, testing::ValuesIn(cases()), [](const auto& test) {
  std::string name(test.param.architecture->name);
  if (test.param.experts) name += "_with_experts";
  if (test.param.older) name += "_older";
  std::erase_if(name, [](char c) { return c == '-' || c == '.'; });
  return name;
});

}  // namespace families_test
}  // namespace lora
