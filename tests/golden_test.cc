// Logits, losses, every adapter gradient and a training curve against PyTorch in f32.
//
// The reference files hold: ids (batch, T), base_logits of the first sample, base_loss, an adapter
// init.NAME.lora_a/b with r = 8 and alpha = 16, loss and grad.NAME of it, and curve.* of 20 AdamW steps on
// the same batch. Differences are norms relative to the reference's norm, per tensor.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "adapter/parameters.h"
#include "gguf/safetensors.h"
#include "kernels/gemm_int8/gemm_int8.h"
#include "kernels/isa.h"
#include "kernels/optimizer/adamw.h"
#include "model/model.h"
#include "model/step.h"
#include "relative_difference.h"

namespace lora {
namespace golden_test {

constexpr double kTolerance = 1e-4;       // logits, losses, gradients
constexpr double kCurveTolerance = 1e-3;  // 20 steps amplify what differs in the first
constexpr double kBf16Tolerance = 0.02;
constexpr double kInt8CurveTolerance = 0.005;
constexpr double kInt8Cosine = 0.999;  // of every tensor's gradient with f32's

struct Case {
  const char* name;
  const char* model;
  const char* golden;
};

const Case kCases[] = {
    {"tiny_q8_0", LORA_SOURCE_DIR "/models/tiny-q8_0.gguf",
     LORA_SOURCE_DIR "/tests/golden/tiny-q8_0-golden.safetensors"},
    {"tiny_f32", LORA_SHARED_DIR "/models/tiny-f32.gguf", LORA_SHARED_DIR "/golden/tiny-golden.safetensors"},
    {"tiny_q4_k_m", LORA_SHARED_DIR "/models/tiny-q4_k_m.gguf",
     LORA_SHARED_DIR "/golden/tiny-q4_k_m-golden.safetensors"},
    {"stories260K", LORA_SHARED_DIR "/models/stories260K.gguf",
     LORA_SHARED_DIR "/golden/stories260K-golden.safetensors"},
};

double worst_ratio(const std::vector<double>& got, const std::vector<float>& want) {
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::fabs(got[i] / want[i] - 1));
  return worst;
}

// The batch of the reference, and everything a step needs.
struct Fixture {
  SafeTensors golden;
  Model model;
  ThreadPool pool{2};
  std::vector<int32_t> ids, targets, positions;
  std::vector<AttentionSegment> segments;
  int64_t n_targets = 0, length = 0;
  LoraParameters parameters;

  explicit Fixture(const Case& c) : golden(SafeTensors::open(c.golden)), model(load_model(c.model)) {
    const SafeTensor& stored = golden.tensor("ids");
    const int64_t batch = stored.shape[0];
    length = stored.shape[1];
    ids.resize(size_t(batch * length));
    std::memcpy(ids.data(), stored.data.data(), stored.data.size());
    for (int64_t s = 0; s < batch; ++s) {
      for (int64_t t = 0; t < length; ++t) {
        targets.push_back(t + 1 < length ? ids[size_t(s * length + t + 1)] : -1);
        positions.push_back(int32_t(t));
        n_targets += t + 1 < length;
      }
      segments.push_back({s * length, length, s * length, length});
    }
  }

  StepTokens tokens() const { return {ids, targets, positions, segments}; }

  Step step(int64_t n_kept, Arithmetic arithmetic) {
    return {model, plan_step(model, int64_t(ids.size()), length, n_kept, true, arithmetic, pool.size()),
            arithmetic, pool};
  }

  void attach_initial_adapter() {
    Adapter adapter;
    adapter.alpha = 16;
    for (const SafeTensor& tensor : golden.tensors()) {
      if (!tensor.name.starts_with("init.") || !tensor.name.ends_with(".lora_a")) continue;
      const std::string base = tensor.name.substr(5, tensor.name.size() - 5 - 7);
      const SafeTensor& b = golden.tensor("init." + base + ".lora_b");
      adapter.pairs.push_back(
          {base, tensor.shape[1], b.shape[0], tensor.shape[0], tensor.to_f32(), b.to_f32()});
    }
    parameters = make_parameters(adapter);
    attach(model, parameters);
  }

  double mean(const std::vector<double>& losses) const {
    return std::accumulate(losses.begin(), losses.end(), 0.0) / double(n_targets);
  }

  // The largest difference among all pairs' tensors in `values` from the stored ones under `prefix`.
  double worst_tensor(const std::string& prefix, const Buffer<float>& values) const {
    double worst = 0;
    for (const auto& pair : parameters.pairs) {
      const auto compare = [&](const char* suffix, int64_t at, int64_t size) {
        const std::vector<float> want = golden.tensor(prefix + pair.base + suffix).to_f32();
        worst = std::max(worst, relative_difference(values.span().subspan(size_t(at), size_t(size)), want));
      };
      compare(".lora_a", pair.a, pair.a_size());
      compare(".lora_b", pair.b, pair.b_size());
    }
    return worst;
  }

  // The smallest cosine of a pair's gradients with the stored ones; pairs whose gradients are nothing but
  // rounding, as those of a lora_a whose lora_b is zero, have none.
  double worst_cosine() const {
    double worst = 1;
    for (const auto& pair : parameters.pairs) {
      const auto compare = [&](const char* suffix, int64_t at, int64_t size) {
        const std::vector<float> want = golden.tensor("grad." + pair.base + suffix).to_f32();
        double product = 0, got_square = 0, want_square = 0;
        for (size_t i = 0; i < size_t(size); ++i) {
          const double got = parameters.gradients[at + int64_t(i)];
          product += got * double(want[i]);
          got_square += got * got;
          want_square += double(want[i]) * double(want[i]);
        }
        if (want_square > 0) worst = std::min(worst, product / std::sqrt(got_square * want_square));
      };
      compare(".lora_a", pair.a, pair.a_size());
      compare(".lora_b", pair.b, pair.b_size());
    }
    return worst;
  }

  float stored(const char* name) const { return golden.tensor(name).to_f32()[0]; }

  // Losses of 20 steps of AdamW from the attached adapter.
  std::vector<double> train(Arithmetic arithmetic) {
    Step step = this->step(0, arithmetic);
    std::vector<double> curve, losses(ids.size());
    for (int64_t t = 1; t <= 20; ++t) {
      std::fill_n(parameters.gradients.data(), parameters.gradients.size(), 0.0f);
      step.losses_and_gradients(losses.data(), tokens(), 1.0f / float(n_targets), uint64_t(t));
      curve.push_back(mean(losses));
      norms.push_back(
          std::sqrt(sum_of_squares(parameters.gradients.data(), parameters.gradients.size(), pool)));
      adamw_update(parameters.values.data(), parameters.m.data(), parameters.v.data(),
                   parameters.gradients.data(), parameters.values.size(), {.lr = 1e-3, .t = t}, pool);
    }
    return curve;
  }
  std::vector<double> norms;  // of the gradients in train()
};

// The figures of docs/accuracy.md.
void report(const Case& c, const char* what, double difference) {
  std::printf("%-12s %-44s %.1e\n", c.name, what, difference);
}

class Golden : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    for (const char* path : {GetParam().model, GetParam().golden}) {
      if (!file_exists(path)) GTEST_SKIP() << path << " is not here";
    }
  }
};

TEST_P(Golden, LogitsAndLossOfTheBaseModel) {
  Fixture f(GetParam());
  Step step = f.step(0, GemmInput::f32);
  std::vector<float> logits(f.ids.size() * size_t(f.model.config.n_vocab));
  step.logits(logits.data(), f.tokens());
  const std::vector<float> want = f.golden.tensor("base_logits").to_f32();
  const double difference = relative_difference({logits.data(), want.size()}, want);
  report(GetParam(), "logits", difference);
  EXPECT_LT(difference, kTolerance);
  std::vector<double> losses(f.ids.size());
  step.losses(losses.data(), f.tokens());
  EXPECT_NEAR(f.mean(losses) / f.stored("base_loss"), 1, kTolerance);
}

TEST_P(Golden, LossAndEveryAdapterGradient) {
  Fixture f(GetParam());
  f.attach_initial_adapter();
  std::vector<float> first;
  for (int64_t n_kept : {int64_t{0}, f.model.config.n_layer / 2, f.model.config.n_layer}) {
    Step step = f.step(n_kept, GemmInput::f32);
    std::fill_n(f.parameters.gradients.data(), f.parameters.gradients.size(), 0.0f);
    std::vector<double> losses(f.ids.size());
    step.losses_and_gradients(losses.data(), f.tokens(), 1.0f / float(f.n_targets));
    EXPECT_NEAR(f.mean(losses) / f.stored("loss"), 1, kTolerance);
    const double worst = f.worst_tensor("grad.", f.parameters.gradients);
    if (n_kept == 0) report(GetParam(), "worst tensor's gradient", worst);
    EXPECT_LT(worst, kTolerance);
    // What is kept and what is computed again makes no difference to any bit.
    std::vector<float> gradients(f.parameters.gradients.data(),
                                 f.parameters.gradients.data() + f.parameters.gradients.size());
    if (first.empty()) first = gradients;
    EXPECT_EQ(gradients, first) << n_kept << " layers kept";
  }
}

// Training curves take the scalar kernels minutes; the smallest model speaks for them.
#define SKIP_WHERE_SLOW()                                                    \
  if (isa() == Isa::scalar && std::string(GetParam().name) != "stories260K") \
  GTEST_SKIP() << "slow in plain C++"

TEST_P(Golden, TwentyStepsOfAdamW) {
  SKIP_WHERE_SLOW();
  Fixture f(GetParam());
  f.attach_initial_adapter();
  const std::vector<double> curve = f.train(GemmInput::f32);
  const std::vector<float> want = f.golden.tensor("curve.loss").to_f32();
  const std::vector<float> want_norms = f.golden.tensor("curve.grad_norm").to_f32();
  report(GetParam(), "worst loss of 20 steps", worst_ratio(curve, want));
  report(GetParam(), "worst gradient norm of 20 steps", worst_ratio(f.norms, want_norms));
  EXPECT_LT(worst_ratio(curve, want), kCurveTolerance);
  EXPECT_LT(worst_ratio(f.norms, want_norms), kCurveTolerance);
  const double worst = f.worst_tensor("final.", f.parameters.values);
  report(GetParam(), "worst tensor after 20 steps", worst);
  EXPECT_LT(worst, kCurveTolerance);
}

TEST_P(Golden, Bf16CurveStaysNearF32) {
  SKIP_WHERE_SLOW();
  Fixture f(GetParam());
  f.attach_initial_adapter();
  const std::vector<double> curve = f.train(GemmInput::bf16);
  const std::vector<float> want = f.golden.tensor("curve.loss").to_f32();
  report(GetParam(), "worst loss of 20 steps, bf16", worst_ratio(curve, want));
  EXPECT_LT(worst_ratio(curve, want), kBf16Tolerance);
}

// Forward and backward in 8-bit integers, dY rounded at random.
TEST_P(Golden, Int8GradientsPointWhereThoseOfF32Do) {
  if (!has_int8_gemm()) GTEST_SKIP() << "no products in 8-bit integers";
  Fixture f(GetParam());
  f.attach_initial_adapter();
  std::vector<float> first;
  for (int64_t n_kept : {int64_t{0}, f.model.config.n_layer}) {
    Step step = f.step(n_kept, {GemmInput::f32, true});
    std::fill_n(f.parameters.gradients.data(), f.parameters.gradients.size(), 0.0f);
    std::vector<double> losses(f.ids.size());
    step.losses_and_gradients(losses.data(), f.tokens(), 1.0f / float(f.n_targets), 7);
    EXPECT_NEAR(f.mean(losses) / f.stored("loss"), 1, 0.005);
    const double cosine = f.worst_cosine();
    if (n_kept == 0) report(GetParam(), "1 - worst cosine of a gradient, int8", 1 - cosine);
    EXPECT_GT(cosine, kInt8Cosine);
    std::vector<float> gradients(f.parameters.gradients.data(),
                                 f.parameters.gradients.data() + f.parameters.gradients.size());
    if (first.empty()) first = gradients;
    EXPECT_EQ(gradients, first) << n_kept << " layers kept";
  }
}

TEST_P(Golden, Int8CurveStaysNearF32) {
  SKIP_WHERE_SLOW();
  if (!has_int8_gemm()) GTEST_SKIP() << "no products in 8-bit integers";
  Fixture f(GetParam());
  f.attach_initial_adapter();
  const std::vector<double> curve = f.train({GemmInput::f32, true});
  const std::vector<float> want = f.golden.tensor("curve.loss").to_f32();
  report(GetParam(), "worst loss of 20 steps, int8", worst_ratio(curve, want));
  EXPECT_LT(worst_ratio(curve, want), kInt8CurveTolerance);
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, testing::ValuesIn(kCases),
                         [](const auto& p) { return p.param.name; });

}  // namespace golden_test
}  // namespace lora
