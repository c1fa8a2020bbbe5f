// Each family's tiny model against PyTorch in f32: logits, loss, every adapter gradient, ten steps of AdamW.
//
// shared/golden/families/NAME holds hf/ (the model as Hugging Face has it), model.gguf (as llama.cpp's
// converter writes it, as `lora convert` has to) and golden.safetensors: ids (2, T), base_logits of row 0,
// base_loss, init.P.lora_a/b for every weight P of a block's linear layers (r = 4, alpha = 8), loss and
// grad.P with all of them, curve.loss of ten updates. Differences are norms relative to the reference's norm,
// per tensor.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <numeric>

#include "adapter/parameters.h"
#include "convert/convert.h"
#include "gguf/safetensors.h"
#include "gguf/test_files.h"
#include "kernels/optimizer/adamw.h"
#include "model/model.h"
#include "model/step.h"
#include "relative_difference.h"

namespace lora {
namespace {

constexpr double kLogits = 1e-5, kOther = 1e-4;

const std::string kFolder = LORA_SHARED_DIR "/golden/families/";

// Row r of the reference's matrix is row order[r] of GGUF's; conversion permutes heads where pairs of the
// rotary embedding lie side by side. Found by looking: the values are the same.
std::vector<int64_t> row_order(const std::vector<float>& theirs, const std::vector<float>& ours,
                               int64_t n_in) {
  std::map<std::vector<float>, int64_t> place;
  const auto row = [&](const std::vector<float>& m, int64_t r) {
    return std::vector<float>(m.begin() + r * n_in, m.begin() + (r + 1) * n_in);
  };
  const int64_t n_out = int64_t(theirs.size()) / n_in;
  for (int64_t r = 0; r < n_out; ++r) place[row(ours, r)] = r;
  std::vector<int64_t> order;
  for (int64_t r = 0; r < n_out; ++r) {
    const auto found = place.find(row(theirs, r));
    if (found == place.end()) return {};
    order.push_back(found->second);
  }
  return order;
}

class FamilyGolden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!file_exists(folder() + "golden.safetensors")) GTEST_SKIP() << folder() << " is not here";
    golden.emplace(SafeTensors::open(folder() + "golden.safetensors"));
    const SafeTensor& stored = golden->tensor("ids");
    const int64_t batch = stored.shape[0], length = stored.shape[1];
    n_positions = length;
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

  std::string folder() const { return kFolder + GetParam() + "/"; }
  StepTokens tokens() const { return {ids, targets, positions, segments}; }
  Step step(const Model& model, int64_t n_kept) {
    return {model,
            plan_step(model, int64_t(ids.size()), n_positions, n_kept, true, GemmInput::f32, pool.size()),
            GemmInput::f32, pool};
  }
  float stored(const char* name) const { return golden->tensor(name).to_f32()[0]; }
  double mean(const std::vector<double>& losses) const {
    return std::accumulate(losses.begin(), losses.end(), 0.0) / double(n_targets);
  }

  // GGUF's tensor of a parameter of the reference.
  static std::string gguf_name(const std::string& parameter) {
    static const std::map<std::string, std::string> kNames = {
        {"self_attn.q_proj", "attn_q"},      {"self_attn.k_proj", "attn_k"},
        {"self_attn.v_proj", "attn_v"},      {"self_attn.qkv_proj", "attn_qkv"},
        {"self_attn.o_proj", "attn_output"}, {"mlp.gate_proj", "ffn_gate"},
        {"mlp.up_proj", "ffn_up"},           {"mlp.gate_up_proj", "ffn_up"},
        {"mlp.down_proj", "ffn_down"},       {"mlp.c_fc", "ffn_up"},
        {"mlp.c_proj", "ffn_down"},
    };
    const size_t layers = parameter.find("layers.");
    const size_t number = layers + 7, dot = parameter.find('.', number);
    const std::string module = parameter.substr(dot + 1, parameter.rfind(".weight") - dot - 1);
    return "blk." + parameter.substr(number, dot - number) + "." + kNames.at(module) + ".weight";
  }

  // The reference's adapter, rows of B in GGUF's order.
  Adapter initial_adapter(const Model& model) {
    const SafeTensors weights = SafeTensors::open(folder() + "hf/model.safetensors");
    Adapter adapter;
    adapter.alpha = 8;
    for (const SafeTensor& a : golden->tensors()) {
      if (!a.name.starts_with("init.") || !a.name.ends_with(".lora_a")) continue;
      const std::string parameter = a.name.substr(5, a.name.size() - 5 - 7), base = gguf_name(parameter);
      const SafeTensor& b = golden->tensor("init." + parameter + ".lora_b");
      const int64_t rank = a.shape[0], n_in = a.shape[1], n_out = b.shape[0];
      const SafeTensor* weight = weights.find(parameter);
      EXPECT_NE(weight, nullptr) << parameter;
      if (!weight) continue;
      const GgufTensor& tensor = model.gguf.tensor(base);
      std::vector<float> ours(size_t(n_in * n_out));
      for (int64_t r = 0; r < n_out; ++r) decode_row(&ours[size_t(r * n_in)], tensor.matrix(), r, 0, n_in);
      const std::vector<int64_t> order = row_order(weight->to_f32(), ours, n_in);
      EXPECT_FALSE(order.empty()) << parameter << " is not " << base;
      if (order.empty()) continue;
      orders[base] = {parameter, order};
      adapter.pairs.push_back({base, n_in, n_out, rank, a.to_f32(), in_our_order(b.to_f32(), order, rank)});
    }
    return adapter;
  }

  static std::vector<float> in_our_order(const std::vector<float>& b, const std::vector<int64_t>& order,
                                         int64_t rank) {
    std::vector<float> ours(b.size());
    for (size_t r = 0; r < order.size(); ++r) {
      std::copy_n(b.begin() + int64_t(r) * rank, rank, ours.begin() + order[r] * rank);
    }
    return ours;
  }

  void expect_gradients(const LoraParameters& parameters) {
    double worst = 0;
    for (const auto& pair : parameters.pairs) {
      const auto& [parameter, order] = orders.at(pair.base);
      const auto difference = [&](const std::vector<float>& want, int64_t at) {
        const double d =
            relative_difference(parameters.gradients.span().subspan(size_t(at), want.size()), want);
        EXPECT_LT(d, kOther) << pair.base;
        worst = std::max(worst, d);
      };
      difference(golden->tensor("grad." + parameter + ".lora_a").to_f32(), pair.a);
      difference(in_our_order(golden->tensor("grad." + parameter + ".lora_b").to_f32(), order, pair.rank),
                 pair.b);
    }
    report("worst tensor's gradient", worst);
  }

  void report(const char* what, double difference) const {
    std::printf("%-12s %-28s %.1e\n", GetParam(), what, difference);
  }

  void expect_all(const std::string& path) {
    Model model = load_model(path);
    std::vector<double> losses(ids.size());
    {
      Step base = step(model, 0);
      std::vector<float> logits(ids.size() * size_t(model.config.n_vocab));
      base.logits(logits.data(), tokens());
      const std::vector<float> want = golden->tensor("base_logits").to_f32();
      const double difference = relative_difference({logits.data(), want.size()}, want);
      report("logits", difference);
      EXPECT_LT(difference, kLogits);
      base.losses(losses.data(), tokens());
      EXPECT_NEAR(mean(losses) / double(stored("base_loss")), 1, kOther);
    }
    LoraParameters parameters = make_parameters(initial_adapter(model));
    attach(model, parameters);
    Step step = this->step(model, model.config.n_layer / 2);
    const std::vector<float> want_curve = golden->tensor("curve.loss").to_f32();
    std::vector<float> curve;
    for (int64_t t = 1; t <= int64_t(want_curve.size()); ++t) {
      std::fill_n(parameters.gradients.data(), parameters.gradients.size(), 0.0f);
      step.losses_and_gradients(losses.data(), tokens(), 1.0f / float(n_targets));
      curve.push_back(float(mean(losses)));
      if (t == 1) {
        EXPECT_NEAR(mean(losses) / double(stored("loss")), 1, kOther);
        expect_gradients(parameters);
      }
      adamw_update(parameters.values.data(), parameters.m.data(), parameters.v.data(),
                   parameters.gradients.data(), parameters.values.size(), {.lr = 1e-3, .t = t}, pool);
    }
    const double difference = relative_difference(curve, want_curve);
    report("curve", difference);
    EXPECT_LT(difference, kOther);
  }

  std::optional<SafeTensors> golden;
  ThreadPool pool{2};
  std::vector<int32_t> ids, targets, positions;
  std::vector<AttentionSegment> segments;
  int64_t n_targets = 0, n_positions = 0;
  std::map<std::string, std::pair<std::string, std::vector<int64_t>>> orders;  // by GGUF's name
};

TEST_P(FamilyGolden, FromLlamaCppsFile) {
  expect_all(folder() + "model.gguf");
}

TEST_P(FamilyGolden, FromOurConversion) {
  const test::ScratchFile file(std::string(GetParam()) + ".gguf");
  convert({.folder = folder() + "hf", .outfile = file.path, .outtype = "f32", .n_threads = 2}, {});
  expect_all(file.path);
}

INSTANTIATE_TEST_SUITE_P(All, FamilyGolden,
                         testing::Values("cohere2", "command-r", "exaone4", "gemma", "gemma2", "gemma3",
                                         "glm4", "granite", "llama3", "mistral3", "olmo2", "olmo3", "phi3",
                                         "phi4-mini", "qwen2", "qwen3", "seed-oss", "smollm3", "starcoder2"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace lora
