// Files of one family or another in which one thing is wrong that other programs go on with, or that would be
// another function of the same weights: what is said, by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <functional>

#include "gguf/test_files.h"
#include "model/model.h"
#include "tiny_models.h"

namespace lora {
namespace families_refuse_test {

using test::TinyModel;
using testing::AllOf;
using testing::HasSubstr;

// A family's tiny model, written again with changes.
class Changed {
 public:
  explicit Changed(std::string_view family, bool experts = false, Type type = Type::F32)
      : file_(fmt::format("{}{}.gguf", family, experts)),
        copy_(fmt::format("{}{}-changed.gguf", family, experts)),
        written_(*find_architecture(family), file_.path, {.type = type, .experts = experts}),
        original_(Gguf::open(file_.path)) {}

  // What loading says of it without the tensors that `drop` names, or "" .
  std::string error(
      const std::function<void(GgufWriter&)>& change,
      const std::function<bool(std::string_view)>& drop = [](std::string_view) { return false; }) {
    GgufWriter writer;
    for (const auto& [key, value] : original_.values()) {
      if (!drop(key)) writer.set(key, value);
    }
    for (const GgufTensor& t : original_.tensors()) {
      if (!drop(t.name)) writer.add_tensor(t.name, t.type, {t.ne, t.ne + t.n_dims}, t.data);
    }
    change(writer);
    writer.write(copy_.path);
    return test::error_of([&] { load_model(copy_.path); });
  }
  std::string without(std::string_view name) {
    return error([](GgufWriter&) {}, [&](std::string_view n) { return n == name; });
  }
  Model loaded() const { return load_model(copy_.path); }

 private:
  test::ScratchFile file_, copy_;
  TinyModel written_;
  Gguf original_;
};

// What files may lack they lack in all layers.
TEST(FamilyFiles, ATensorThatOneLayerLacksIsLost) {
  for (const auto& [family, experts, tensor] : {std::tuple("falcon-h1", false, "ssm_conv1d.bias"),
                                                {"nemotron_h", false, "ssm_conv1d.bias"},
                                                {"gemma4", false, "attn_v.weight"},
                                                {"gemma4", true, "layer_output_scale.weight"}}) {
    Changed model(family, experts);
    EXPECT_EQ(model.error([](GgufWriter&) {}), "");
    EXPECT_THAT(model.without(fmt::format("blk.0.{}", tensor)),
                HasSubstr(fmt::format("blk.0.{}: missing", tensor)))
        << family;
  }
  Changed falcon("falcon-h1");
  EXPECT_THAT(falcon.without("blk.3.ssm_conv1d.bias"),
              HasSubstr("tensor blk.3.ssm_conv1d.bias: missing, though there is blk.0.ssm_conv1d.bias"));
  EXPECT_EQ(falcon.error([](GgufWriter&) {},
                         [](std::string_view name) { return name.ends_with("ssm_conv1d.bias"); }),
            "")
      << "a model without any";
  Changed dense("gemma4");
  EXPECT_EQ(dense.error([](GgufWriter&) {},
                        [](std::string_view name) { return name.ends_with("layer_output_scale.weight"); }),
            "");
  // Keys for values are of layers that see everything.
  Changed gemma("gemma4", true);
  EXPECT_THAT(gemma.without("blk.2.attn_v.weight"), HasSubstr("tensor blk.2.attn_v.weight: missing"));
}

TEST(FamilyFiles, Gemma4SaysItsWindows) {
  Changed gemma("gemma4");
  for (const char* key : {"gemma4.attention.sliding_window", "gemma4.attention.sliding_window_pattern"})
    EXPECT_THAT(gemma.without(key), HasSubstr(std::string(key) + ": missing"));
  EXPECT_THAT(gemma.error([](GgufWriter& w) { w.set_u32("gemma4.attention.sliding_window", 0); }),
              HasSubstr("gemma4.attention.sliding_window: 0 makes no sense"));
}

// Without the key llama.cpp caps at 30 (run with node-llama-cpp 3.22.1), and 0 is no cap.
TEST(FamilyFiles, Gemma4CapsLogitsWhereTheFileDoesNotSay) {
  Changed gemma("gemma4");
  const std::string key = "gemma4.final_logit_softcapping";
  EXPECT_EQ(gemma.without(key), "");
  EXPECT_EQ(gemma.loaded().config.logit_softcap, 30);
  EXPECT_EQ(gemma.error([&](GgufWriter& w) { w.set_f32(key, 0); }), "");
  EXPECT_EQ(gemma.loaded().config.logit_softcap, 0);
  EXPECT_THAT(gemma.error([&](GgufWriter& w) { w.set_f32(key, -1); }),
              HasSubstr(key + ": -1 makes no sense"));
}

// Which layers are of which kind is yes or no of each.
TEST(FamilyFiles, KindsOfLayersAreYesOrNo) {
  const auto set = [](const char* key, std::vector<int64_t> values) {
    return [key, values](GgufWriter& w) { w.set(key, {GgufValueType::array, GgufValueType::i32, values}); };
  };
  for (const auto& [family, key] : {std::pair("gemma4", "gemma4.attention.sliding_window_pattern"),
                                    {"qwen35", "qwen35.attention.recurrent_layers"}}) {
    Changed model(family);
    EXPECT_THAT(model.error(set(key, {2, 0, 2, 0, 2})), HasSubstr(std::string(key) + ": 2 makes no sense"));
    EXPECT_THAT(model.error(set(key, {1, 0, 1, 0})), HasSubstr(std::string(key) + ": 4 values for 5 layers"));
  }
}

// One that is of another kind than its file's keys say is refused by a tensor and the keys, not by what it
// lacks.
TEST(FamilyFiles, BlocksAreOfTheKindThatKeysSay) {
  const auto list = [](const char* key, std::vector<int64_t> values) {
    return [key, values](GgufWriter& w) { w.set(key, {GgufValueType::array, GgufValueType::i32, values}); };
  };
  const auto number = [](const char* key, uint32_t value) {
    return [key, value](GgufWriter& w) { w.set_u32(key, value); };
  };
  struct Row {
    const char* family;
    bool experts;
    std::function<void(GgufWriter&)> change;
    const char *tensor, *keys;
  };
  const std::vector<Row> rows = {
      {"qwen35", false, number("qwen35.full_attention_interval", 2), "blk.1.ssm_conv1d.weight",
       "qwen35.full_attention_interval"},
      {"qwen35", false, number("qwen35.full_attention_interval", 9), "blk.2.attn_q_norm.weight",
       "qwen35.full_attention_interval"},
      {"qwen35", false, list("qwen35.attention.recurrent_layers", {1, 0, 1, 1, 1}), "blk.1.ssm_conv1d.weight",
       "qwen35.attention.recurrent_layers"},
      {"qwen3next", true, number("qwen3next.full_attention_interval", 1), "blk.0.ssm_conv1d.weight",
       "qwen3next.full_attention_interval"},
      {"lfm2", false, list("lfm2.attention.head_count_kv", {0, 2, 2, 2, 0}), "blk.2.shortconv.conv.weight",
       "lfm2.attention.head_count_kv"},
      {"lfm2moe", true, number("lfm2moe.leading_dense_block_count", 2), "blk.1.exp_probs_b.bias",
       "lfm2moe.leading_dense_block_count, lfm2moe.attention.head_count_kv"},
      {"granitehybrid", false, list("granitehybrid.attention.head_count_kv", {0, 2, 2, 2, 0}),
       "blk.2.ssm_conv1d.weight", "granitehybrid.attention.head_count_kv"},
      {"nemotron_h", false, list("nemotron_h.feed_forward_length", {0, 0, 0, 0, 0}), "blk.2.ffn_down.weight",
       "nemotron_h.feed_forward_length, nemotron_h.attention.head_count_kv"},
      {"deepseek2", true, number("deepseek2.leading_dense_block_count", 0), "blk.0.ffn_down.weight",
       "deepseek2.leading_dense_block_count"},
  };
  for (const Row& row : rows) {
    Changed model(row.family, row.experts);
    const std::string error = model.error(row.change);
    EXPECT_THAT(error,
                testing::EndsWith(fmt::format(
                    "-changed.gguf: tensor {}: not known for architecture {} in block {}, described by {}",
                    row.tensor, row.family, row.tensor[4], row.keys)));
  }
}

// A list of blocks wins over an interval, which has to make sense all the same.
TEST(FamilyFiles, AnIntervalThatAListContradictsIsSaid) {
  Changed model("qwen35");
  const auto set = [](uint32_t interval) {
    return [interval](GgufWriter& w) {
      w.set_u32("qwen35.full_attention_interval", interval);
      w.set("qwen35.attention.recurrent_layers",
            {GgufValueType::array, GgufValueType::i32, std::vector<int64_t>{1, 1, 0, 1, 1}});
    };
  };
  EXPECT_EQ(model.error(set(3)), "");
  EXPECT_THAT(model.loaded().config.notes, testing::Not(testing::Contains(HasSubstr("interval"))));
  EXPECT_EQ(model.error(set(2)), "");
  EXPECT_THAT(model.loaded().config.notes,
              testing::Contains("qwen35.full_attention_interval: 2 is not what "
                                "qwen35.attention.recurrent_layers says, which is gone by"));
  EXPECT_THAT(model.error(set(0)), HasSubstr("qwen35.full_attention_interval: 0 makes no sense"));
}

TEST(FamilyFiles, BlocksAreAsManyAsTheKeySays) {
  Changed model("qwen3");
  const auto set = [](uint32_t n) { return [n](GgufWriter& w) { w.set_u32("qwen3.block_count", n); }; };
  EXPECT_EQ(model.error(set(5)), "");
  EXPECT_THAT(model.error(set(4)), AllOf(HasSubstr("tensor blk.4."), HasSubstr("qwen3.block_count is 4")));
  EXPECT_THAT(model.error(set(6)), HasSubstr("qwen3.block_count: 6, but there is no tensor of block 5"));
}

// llama.cpp keeps what is no matrix in floats: of another type it is not what it says.
TEST(FamilyFiles, NothingButMatricesIsQuantized) {
  for (const auto& [family, tensor] : {std::pair("qwen3", "blk.0.attn_norm.weight"),
                                       {"qwen3", "output_norm.weight"},
                                       {"qwen2", "blk.1.attn_q.bias"},
                                       {"granitehybrid", "blk.0.ssm_conv1d.bias"}}) {
    const int64_t n = 64;
    for (const Type type : {Type::Q4_0, Type::Q8_0, Type::F16, Type::BF16}) {
      const TypeTraits& traits_of = traits(type);
      const std::vector<std::byte> zeros(size_t(n / traits_of.block_size * traits_of.block_bytes));
      Changed model(family, false, Type::Q8_0);
      const std::string error =
          model.error([&](GgufWriter& w) { w.add_tensor(tensor, type, {n}, zeros); },
                      [&, name = std::string_view(tensor)](std::string_view t) { return t == name; });
      const std::string refusal =
          fmt::format("tensor {}: type {}, expected F32, F16 or BF16", tensor, traits_of.name);
      EXPECT_EQ(error.find(refusal) != error.npos, traits_of.block_size > 1) << error;
    }
  }
}

// A block that is called one for predicting further tokens and is none would be left out of the model.
TEST(FamilyFiles, BlocksThatAreLeftOutAreThoseThatPredict) {
  for (const char* family : {"qwen35", "glm4moe"}) {
    Changed model(family);
    const std::string key = std::string(family) + ".nextn_predict_layers";
    const auto set = [&](GgufWriter& w) { w.set_u32(key, 1); };
    EXPECT_THAT(model.error(set), AllOf(HasSubstr(key + ": 1, but block 4 is one as others are"),
                                        HasSubstr("without blk.4.nextn.eh_proj.weight")));
    EXPECT_EQ(model.error(set, [](std::string_view name) { return name.starts_with("blk.4."); }), "")
        << "they were taken out";
  }
}

// What a header says of its layers is read in time that grows with its length, not with its square. The bound
// is for a slow machine with sanitizers; a loop over tensors or layers for each of them takes minutes to
// hours.
class LongHeaders : public testing::Test {
 protected:
  static constexpr int64_t kLayers = 300'000;
  static constexpr double kSeconds = 60;

  static GgufValue number(uint64_t n) { return {GgufValueType::u32, {}, n}; }
  void TearDown() override { EXPECT_LT(double(std::clock() - start_) / CLOCKS_PER_SEC, kSeconds); }

 private:
  std::clock_t start_ = std::clock();
};

TEST_F(LongHeaders, OfBlocksThatAreLeftOut) {
  GgufWriter writer;
  writer.set_string("general.architecture", "glm4moe");
  for (const auto& [key, n] : {std::pair<const char*, uint32_t>{"block_count", kLayers},
                               {"nextn_predict_layers", kLayers - 1},
                               {"embedding_length", 8},
                               {"feed_forward_length", 8},
                               {"attention.head_count", 2},
                               {"context_length", 8},
                               {"expert_count", 2},
                               {"expert_used_count", 1}}) {
    writer.set_u32(fmt::format("glm4moe.{}", key), n);
  }
  writer.set_f32("glm4moe.attention.layer_norm_rms_epsilon", 1e-5f);
  const float one = 1;
  const std::vector<float> table(16);
  writer.add_tensor("token_embd.weight", Type::F32, {8, 2}, std::as_bytes(std::span(table)));
  for (int64_t i = 1; i < kLayers; ++i) {
    const std::string name = i == kLayers - 1 ? fmt::format("blk.{}.nextn.eh_proj.weight", i)
                                              : fmt::format("blk.{}.x", i + kLayers);
    writer.add_tensor(name, Type::F32, {1}, std::as_bytes(std::span(&one, 1)));
  }
  const test::ScratchFile file("long-header.gguf");
  writer.write(file.path);
  const ModelConfig config = read_config(Gguf::open(file.path));
  EXPECT_EQ(config.n_layer, 1);
  EXPECT_EQ(config.n_layer_skipped, kLayers - 1);
}

TEST_F(LongHeaders, OfLayersThatShareKeysAndValues) {
  constexpr int64_t kOwn = kLayers / 2;
  std::vector<uint64_t> windowed(kLayers);
  std::fill(windowed.begin() + 1, windowed.begin() + kOwn, 1);
  std::vector<std::pair<std::string, GgufValue>> keys = {
      {"general.architecture", {GgufValueType::string, {}, std::string("gemma4")}},
      {"gemma4.attention.layer_norm_rms_epsilon", {GgufValueType::f32, {}, 1e-5}},
      {"gemma4.attention.sliding_window_pattern",
       {GgufValueType::array, GgufValueType::boolean, std::move(windowed)}}};
  for (const auto& [key, n] : {std::pair<const char*, uint64_t>{"block_count", kLayers},
                               {"embedding_length", 8},
                               {"feed_forward_length", 8},
                               {"attention.head_count", 2},
                               {"attention.sliding_window", 4},
                               {"attention.shared_kv_layers", kLayers - kOwn},
                               {"context_length", 8}}) {
    keys.emplace_back(fmt::format("gemma4.{}", key), number(n));
  }
  const ModelConfig config = config_of_keys(Gguf::of_values("long.gguf", std::move(keys)), 2);
  EXPECT_THAT(config.shares_kv, testing::ElementsAre(0, -1)) << "no windowed one is attended to";
  EXPECT_EQ(config.unused_tensors.size(), size_t(3 * (kLayers - kOwn)));
}

TEST_F(LongHeaders, OfKeysThatAreWrittenAgain) {
  GgufWriter writer;
  for (int round = 0; round < 2; ++round) {
    for (int64_t i = 0; i < kLayers; ++i) writer.set(fmt::format("key.{}", i), number(uint64_t(round)));
  }
  ASSERT_EQ(writer.values().size(), size_t(kLayers));
  EXPECT_EQ(writer.values().back().first, fmt::format("key.{}", kLayers - 1)) << "in place";
  EXPECT_EQ(std::get<uint64_t>(writer.values().back().second.value), 1u);
}

}  // namespace families_refuse_test
}  // namespace lora
