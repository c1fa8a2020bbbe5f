#include "model/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <numeric>

#include "base/error.h"
#include "base/regex_test_util.h"
#include "model/decoder.h"
#include "model/step.h"

namespace lora {
namespace model_test {

constexpr const char* kTiny = LORA_SOURCE_DIR "/models/tiny-q8_0.gguf";

std::vector<int32_t> some_tokens(int64_t n) {
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = int32_t((i * 37 + 1) % 4096);
  return ids;
}

double largest_difference(std::span<const float> x, std::span<const float> y) {
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::fabs(double(x[i]) - y[i]));
  return largest;
}

// Logits of the whole text at once, by the training pass.
std::vector<float> all_logits(const Model& model, const std::vector<int32_t>& ids, ThreadPool& pool) {
  const int64_t n = int64_t(ids.size());
  std::vector<int32_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  const AttentionSegment segment{0, n, 0, n};
  Step step(model, plan_step(model, n, n, 0, false, GemmInput::f32, pool.size()), GemmInput::f32, pool);
  std::vector<float> logits(ids.size() * size_t(model.config.n_vocab));
  step.logits(logits.data(), {ids, {}, positions, {&segment, 1}});
  return logits;
}

// The cache: pieces of any size, and pieces larger than the decoder's batch, give the logits of the whole.
TEST(Decoder, AgreesWithTheWholePass) {
  const Model model = load_model(kTiny);
  ThreadPool pool(2);
  const std::vector<int32_t> ids = some_tokens(40);
  const std::vector<float> want = all_logits(model, ids, pool);
  for (const std::vector<size_t>& pieces : {std::vector<size_t>{40}, {1, 1, 5, 33}, {20, 2, 18}}) {
    Decoder decoder(model, {.n_ctx = 40, .n_batch = 7, .precision = Precision::f32}, pool);
    size_t at = 0;
    for (size_t piece : pieces) {
      const auto logits = decoder.append(std::span(ids).subspan(at, piece));
      at += piece;
      EXPECT_LT(largest_difference(logits, std::span(want).subspan((at - 1) * 4096, 4096)), 2e-4) << at;
    }
    EXPECT_THROW(decoder.append(std::span(ids).first(1)), Error);  // the context is full
  }
}

// Two texts in one flat list do not see each other.
TEST(Step, SegmentsAreApart) {
  const Model model = load_model(kTiny);
  ThreadPool pool(2);
  const std::vector<int32_t> a = some_tokens(9), b = some_tokens(6);
  std::vector<int32_t> both = a, positions = {0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 3, 4, 5};
  both.insert(both.end(), b.begin(), b.end());
  const AttentionSegment segments[] = {{0, 9, 0, 9}, {9, 6, 9, 6}};
  Step step(model, plan_step(model, 15, 9, 0, false, GemmInput::f32, 2), GemmInput::f32, pool);
  std::vector<float> logits(15 * 4096);
  step.logits(logits.data(), {both, {}, positions, segments});
  EXPECT_LT(largest_difference(all_logits(model, a, pool), std::span(logits).first(9 * 4096)), 1e-4);
  EXPECT_LT(largest_difference(all_logits(model, b, pool), std::span(logits).subspan(9 * 4096)), 1e-4);
}

// A step over the first layers computes what a model of so many has, beside one over all of them, and gives
// up without a trace: the model is const.
TEST(Step, OverTheFirstLayersLeavesTheModelWhole) {
  const Model model = load_model(kTiny);
  Model shorter = load_model(kTiny);
  shorter.config.n_layer = 2;
  shorter.layers.resize(2);
  ThreadPool pool(2);
  const std::vector<int32_t> ids = some_tokens(12);
  std::vector<int32_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  const AttentionSegment segment{0, 12, 0, 12};
  const auto step_of = [&](const Model& m, std::optional<NetworkPart> part) {
    return std::make_unique<Step>(m, plan_step(m, 12, 12, 1, true, GemmInput::f32, 2, part), GemmInput::f32,
                                  pool);
  };
  const auto losses_of = [&](Step& step, bool backward) {
    std::vector<double> losses(ids.size());
    const StepTokens tokens{ids, ids, positions, {&segment, 1}};
    if (backward) {
      step.losses_and_gradients(losses.data(), tokens, 1);
    } else {
      step.losses(losses.data(), tokens);
    }
    return losses;
  };
  const auto all = step_of(model, {}), two = step_of(model, NetworkPart{{0, 2}}), want = step_of(shorter, {});
  const std::vector<double> whole = losses_of(*all, false);
  for (const bool backward : {false, true}) {
    EXPECT_EQ(losses_of(*two, backward), losses_of(*want, backward));
    EXPECT_EQ(losses_of(*all, backward), whole);
  }
  EXPECT_NE(losses_of(*two, false), whole);
  int asked = 0;
  two->set_give_up([&] { return ++asked == 2; });  // nothing is trained: forward alone
  EXPECT_THROW(losses_of(*two, true), GivenUp);
  EXPECT_EQ(losses_of(*all, true), whole);
}

// Whole layers in a row, and no part is heavier than an even share and the layer that did not fit.
TEST(NetworkParts, AreAsEvenAsLayersAllow) {
  const Model model = load_model(kTiny);
  const auto n_layer = int64_t(model.layers.size());
  const auto stages = stage_weights(model, model.layers);
  uint64_t largest = 0;
  for (const StageWeights& stage : stages) largest = std::max(largest, stage.bytes());
  for (int64_t n = 1; n <= n_layer; ++n) {
    const std::vector<NetworkPart> parts = network_parts(model, n);
    ASSERT_EQ(int64_t(parts.size()), n);
    int64_t end = 0;
    uint64_t bytes = 0;
    for (const NetworkPart& part : parts) {
      EXPECT_EQ(part.layers.begin, end);
      EXPECT_GT(part.layers.n, 0);
      EXPECT_EQ(part.has_embedding, &part == &parts.front());
      EXPECT_EQ(part.has_head, &part == &parts.back());
      EXPECT_EQ(part.n_flight, n == 1 ? 0 : &parts.back() - &part + 1);
      end = part.layers.end();
      const uint64_t here = weight_bytes(stage_weights(model, part));
      EXPECT_LE(here, weight_bytes(stages) / uint64_t(n) + largest);
      bytes += here;
    }
    EXPECT_EQ(end, n_layer);
    EXPECT_EQ(bytes, weight_bytes(stages));
  }
  EXPECT_THROW(network_parts(model, n_layer + 1), Error);
}

TEST(Step, RefusesTokensAndPositionsOutOfRange) {
  const Model model = load_model(kTiny);
  ThreadPool pool(1);
  Step step(model, plan_step(model, 4, 4, 0, false, GemmInput::f32, 1), GemmInput::f32, pool);
  const AttentionSegment segment{0, 1, 0, 1};
  double loss;
  const auto losses = [&](int32_t id, int32_t target, int32_t position) {
    step.losses(&loss, {{&id, 1}, {&target, 1}, {&position, 1}, {&segment, 1}});
  };
  EXPECT_NO_THROW(losses(1, 2, 3));
  EXPECT_THROW(losses(-1, 2, 0), Error);
  EXPECT_THROW(losses(4096, 2, 0), Error);
  EXPECT_THROW(losses(1, 4096, 0), Error);
  EXPECT_THROW(losses(1, 2, 4), Error);
}

TEST(Model, FindsLinearLayersByTensorName) {
  Model model = load_model(kTiny);
  const auto body = [&](size_t layer, size_t branch) -> Body& {
    return model.layers[layer].branches[branch].bodies.front();
  };
  EXPECT_THAT(model.find_linears("blk.0.attn_q.weight"),
              testing::ElementsAre(&std::get<Attention>(body(0, 0)).q));
  EXPECT_THAT(model.find_linears("blk.5.ffn_down.weight"),
              testing::ElementsAre(&std::get<Mlp>(body(5, 1)).down));
  EXPECT_THAT(model.find_linears("output.weight"), testing::ElementsAre(&model.output));
  for (const char* name :
       {"blk.6.attn_q.weight", "blk.0.attn_q.bias", "blk.0.attn_output", "token_embd.weight", ""}) {
    EXPECT_THAT(model.find_linears(name), testing::IsEmpty()) << name;
  }
}

// The bundled model written again with one thing changed.
struct Copy {
  Gguf original = Gguf::open(kTiny);
  std::string path = testing::TempDir() + "lora_model_copy.gguf";
  ~Copy() { std::remove(path.c_str()); }

  std::string why(const std::function<void(GgufWriter&)>& change,
                  const std::function<bool(std::string_view)>& keep) {
    GgufWriter writer;
    for (const auto& [key, value] : original.values()) {
      if (keep(key)) writer.set(key, value);
    }
    for (const GgufTensor& t : original.tensors()) {
      if (keep(t.name)) writer.add_tensor(t.name, t.type, {t.ne, t.ne + t.n_dims}, t.data);
    }
    change(writer);
    writer.write(path);
    try {
      load_model(path);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
};

TEST(Model, RefusesWhatItDoesNotUnderstandByName) {
  Copy copy;
  const auto all = [](std::string_view) { return true; };
  const auto nothing = [](GgufWriter&) {};
  using testing::HasSubstr;
  EXPECT_EQ(copy.why(nothing, all), "accepted");
  EXPECT_THAT(copy.why([](GgufWriter& w) { w.set_string("general.architecture", "mpt"); }, all),
              contains_regex("architecture 'mpt' is not supported \\(known: .*llama.*qwen3.*\\)"));
  EXPECT_THAT(copy.why(nothing, [](std::string_view n) { return n != "blk.3.ffn_up.weight"; }),
              HasSubstr("tensor blk.3.ffn_up.weight: missing"));
  EXPECT_THAT(copy.why(nothing, [](std::string_view n) { return n != "llama.block_count"; }),
              HasSubstr("llama.block_count: missing"));
  const std::string eps = "llama.attention.layer_norm_rms_epsilon";
  EXPECT_THAT(copy.why(nothing, [&](std::string_view n) { return n != eps; }), HasSubstr(eps + ": missing"));
  EXPECT_EQ(load_model(copy.path, {{}, {}, 1e-5}).config.norm_eps, 1e-5f);
  EXPECT_THAT(copy.why(
                  [](GgufWriter& w) {
                    w.set("llama.rope.dimension_count",
                          {GgufValueType::array, GgufValueType::i32, std::vector<int64_t>()});
                  },
                  all),
              HasSubstr("llama.rope.dimension_count: an empty list"));
  EXPECT_THAT(copy.why([](GgufWriter& w) { w.set_u32("llama.attention.head_count_kv", 3); }, all),
              HasSubstr("not divided by 3"));
  EXPECT_THAT(copy.why([](GgufWriter& w) { w.set_u32("llama.embedding_length", 128); }, all),
              HasSubstr("expected"));
  EXPECT_THAT(copy.why([](GgufWriter& w) { w.set_u32("llama.expert_count", 8); }, all),
              HasSubstr("llama.expert_used_count: missing"));
  EXPECT_THAT(copy.why([](GgufWriter& w) { w.set_string("llama.rope.scaling.type", "mystery"); }, all),
              HasSubstr("mystery"));
  // Keys that other families compute with: refused, unless the value is what this one computes. (Copies:
  // clang 14 lets no lambda capture a part of a tuple.)
  for (const auto& [key, neutral, other] : {std::tuple("llama.logit_scale", 1.0f, 0.5f),
                                            {"llama.attention.scale", 0.17677669f, 0.2f},
                                            {"llama.attn_logit_softcapping", 0.0f, 30.0f},
                                            {"llama.attention.clamp_kqv", 0.0f, 8.0f},
                                            {"llama.rope.scaling.yarn_attn_factor", 1.0f, 1.2f}}) {
    EXPECT_EQ(copy.why([key = key, value = neutral](GgufWriter& w) { w.set_f32(key, value); }, all),
              "accepted")
        << key;
    EXPECT_THAT(copy.why([key = key, value = other](GgufWriter& w) { w.set_f32(key, value); }, all),
                HasSubstr(fmt::format("{}: {:g} is not supported for architecture llama", key, other)));
  }
  EXPECT_THAT(copy.why([](GgufWriter& w) { w.set_bool("llama.attention.causal", false); }, all),
              HasSubstr("attention.causal: 0 is not supported"));
  EXPECT_EQ(copy.why([](GgufWriter& w) { w.set_u32("llama.attention.sliding_window", 64); }, all),
            "accepted");
  EXPECT_THAT(load_model(copy.path).config.notes,
              testing::ElementsAre(HasSubstr("attention.sliding_window: 64 is not applied")));
  const float one = 1;
  EXPECT_THAT(copy.why(
                  [&](GgufWriter& w) {
                    w.add_tensor("blk.0.attn_q_norm.weight", Type::F32, {1},
                                 std::as_bytes(std::span(&one, 1)));
                  },
                  all),
              HasSubstr("tensor blk.0.attn_q_norm.weight: not known"));
  // Without output.weight the embedding's table is the head.
  EXPECT_EQ(copy.why(nothing, [](std::string_view n) { return n != "output.weight"; }), "accepted");
}

// Each size alone is one that a file may state; what is made of them would not be a 64-bit number.
TEST(Config, RefusesSizesThatMultiplyToNone) {
  const auto why = [](const std::string& family, const std::map<std::string, uint64_t>& changes) {
    std::vector<std::pair<std::string, GgufValue>> keys = {
        {"general.architecture", {GgufValueType::string, {}, family}},
        {family + ".attention.layer_norm_rms_epsilon", {GgufValueType::f32, {}, 1e-6}}};
    std::map<std::string, uint64_t> sizes = {
        {"block_count", 1},          {"embedding_length", 64}, {"feed_forward_length", 0},
        {"attention.head_count", 0}, {"context_length", 512},  {"ssm.conv_kernel", 4},
        {"ssm.inner_size", 128},     {"ssm.state_size", 16},   {"ssm.time_step_rank", 4},
    };
    for (const auto& [name, value] : changes) sizes[name] = value;
    for (const auto& [name, value] : sizes)
      keys.emplace_back(family + "." + name, GgufValue{GgufValueType::u32, {}, value});
    try {
      config_of_keys(Gguf::of_values("keys", keys), 300);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  constexpr uint64_t kLargest = uint64_t{1} << 31;
  EXPECT_EQ(why("mamba2", {}), "accepted");
  EXPECT_EQ(why("mamba2", {{"ssm.state_size", kLargest}}),
            "keys: mamba2.ssm.state_size: 2147483648 makes no sense");
  EXPECT_EQ(
      why("mamba2",
          {{"ssm.inner_size", kLargest}, {"ssm.time_step_rank", kLargest}, {"ssm.group_count", kLargest}}),
      "keys: mamba2.ssm.inner_size: 2147483648 makes no sense");
  EXPECT_EQ(why("granitehybrid", {{"attention.head_count", kLargest}, {"attention.key_length", kLargest}}),
            "keys: granitehybrid.attention.head_count: 2147483648 heads of 2147483648 make no sense");
}

TEST(Config, ReadsRopeScaling) {
  Copy copy;
  const auto rope = [&](const std::function<void(GgufWriter&)>& change) {
    EXPECT_EQ(copy.why(change, [](std::string_view) { return true; }), "accepted");
    return load_model(copy.path).config.rope;
  };
  EXPECT_EQ(rope([](GgufWriter&) {}).freq_scale, 1);
  const auto linear = rope([](GgufWriter& w) {
    w.set_string("llama.rope.scaling.type", "linear");
    w.set_f32("llama.rope.scaling.factor", 4);
  });
  EXPECT_EQ(linear.freq_scale, 0.25);
  EXPECT_FALSE(linear.yarn);
  EXPECT_EQ(rope([](GgufWriter& w) { w.set_f32("llama.rope.scale_linear", 2); }).freq_scale, 0.5);
  const auto yarn = rope([](GgufWriter& w) {
    w.set_string("llama.rope.scaling.type", "yarn");
    w.set_f32("llama.rope.scaling.factor", 8);
    w.set_u32("llama.rope.scaling.original_context_length", 64);
  });
  EXPECT_TRUE(yarn.yarn);
  EXPECT_EQ(yarn.n_ctx_orig, 64);
  EXPECT_EQ(yarn.freq_scale, 0.125);
  const std::vector<float> factors(16, 2.0f);
  const auto divided = rope([&](GgufWriter& w) {
    w.add_tensor("rope_freqs.weight", Type::F32, {16}, std::as_bytes(std::span(factors)));
  });
  EXPECT_EQ(divided.freq_factors, factors);
  EXPECT_EQ(load_model(copy.path, {5e5, 0.5, 1e-4}).config.rope.freq_base, 5e5);
}

}  // namespace model_test
}  // namespace lora
