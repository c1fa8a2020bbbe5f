// Which tensor gets which type. That the choices for the bundled model are llama.cpp's is tested in
// quantize_test.cc; here are the rules that other models bring in, as llama-quantize --dry-run showed them.
#include "convert/mixes.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "convert/test_models.h"

namespace lora {
namespace {

using test::ModelShape;
using test::TemporaryFolder;
using test::TestModel;
using Types = std::map<std::string, Type>;

Types types_of(const ModelShape& shape, std::string_view mix, const MixOptions& options = {}) {
  const TemporaryFolder folder;
  const Gguf model = Gguf::open(TestModel(shape).write(folder.at("model.gguf")));
  Types types;
  const auto choices = choose_types(model, *find_mix(mix), options);
  for (size_t i = 0; i < choices.size(); ++i) types[model.tensors()[i].name] = choices[i].type;
  return types;
}

std::string layers_with(const Types& types, const std::string& part, Type type) {
  std::string layers;
  for (int i = 0; types.contains(fmt::format("blk.{}.{}", i, part)); ++i) {
    if (types.at(fmt::format("blk.{}.{}", i, part)) == type) layers += fmt::format(" {}", i);
  }
  return layers;
}

TEST(Mixes, AreFoundByNameInAnyCase) {
  for (const std::string_view name : mix_names()) EXPECT_NE(find_mix(name), nullptr) << name;
  EXPECT_EQ(find_mix("q4_k_m"), find_mix("Q4_K_M"));
  EXPECT_EQ(file_type(*find_mix("Q4_K_M")), 15);
  for (const std::string_view none : {"", "Q4_K", "Q4_K_", "Q4_K_MM", "I32"})
    EXPECT_EQ(find_mix(none), nullptr);
}

TEST(Mixes, MoreBitsGoToTheFirstAndLastEighthAndEveryThirdLayerBetween) {
  const Types types = types_of({.n_layers = 32, .n_embd = 256, .n_ff = 256}, "Q4_K_M");
  const std::string more = " 0 1 2 3 6 9 12 15 18 21 24 27 28 29 30 31";
  EXPECT_EQ(layers_with(types, "attn_v.weight", Type::Q6_K), more);
  EXPECT_EQ(layers_with(types, "ffn_down.weight", Type::Q6_K), more);
  EXPECT_EQ(layers_with(types, "attn_q.weight", Type::Q6_K), "");
  const Types small = types_of({.n_layers = 32, .n_embd = 256, .n_ff = 256}, "Q4_K_S");
  EXPECT_EQ(layers_with(small, "attn_v.weight", Type::Q5_K), " 0 1 2 3");
  EXPECT_EQ(layers_with(small, "ffn_down.weight", Type::Q5_K), " 0 1 2 3");
  const Types three = types_of({.n_layers = 32, .n_embd = 256, .n_ff = 256}, "Q3_K_M");
  EXPECT_EQ(layers_with(three, "ffn_down.weight", Type::Q5_K), " 0 1");
  EXPECT_EQ(layers_with(three, "attn_v.weight", Type::Q5_K), " 0 1");
}

TEST(Mixes, SharedHeadsGiveTheValuesMoreBits) {
  EXPECT_EQ(types_of({}, "Q2_K").at("blk.0.attn_v.weight"), Type::Q3_K);
  EXPECT_EQ(types_of({.n_head_kv = 2}, "Q2_K").at("blk.0.attn_v.weight"), Type::Q4_K);
  EXPECT_EQ(types_of({.n_head_kv = 2}, "IQ4_XS").at("blk.0.attn_v.weight"), Type::Q5_K);
  // 80 layers with shared heads are a 70B model.
  const Types large = types_of({.n_layers = 80, .n_ff = 256, .n_head_kv = 1}, "Q3_K_S");
  EXPECT_EQ(large.at("blk.40.attn_v.weight"), Type::Q5_K);
}

TEST(Mixes, FusedAttentionIsTreatedAsItsValues) {
  const Types types = types_of({.arch = "phi3", .n_layers = 8, .fused_qkv = true}, "Q4_K_M");
  EXPECT_EQ(layers_with(types, "attn_qkv.weight", Type::Q6_K), " 0 3 6 7");
}

TEST(Mixes, EightExpertsGetTheirOwnRules) {
  const Types types = types_of({.n_expert = 8}, "Q4_K_M");
  EXPECT_EQ(types.at("blk.0.attn_v.weight"), Type::Q8_0);
  EXPECT_EQ(types.at("blk.0.attn_k.weight"), Type::Q8_0);
  EXPECT_EQ(types.at("blk.0.attn_output.weight"), Type::Q5_K);
  EXPECT_EQ(types.at("blk.0.ffn_gate_inp.weight"), Type::F32);
  EXPECT_EQ(types.at("blk.0.ffn_up_exps.weight"), Type::Q4_K);
  EXPECT_EQ(types.at("blk.1.ffn_down_exps.weight"), Type::Q6_K);
}

TEST(Mixes, ATiedTableIsTheOutput) {
  EXPECT_EQ(types_of({.tied = true}, "Q4_K_M").at("token_embd.weight"), Type::Q6_K);
  EXPECT_EQ(types_of({}, "Q4_K_M").at("token_embd.weight"), Type::Q4_K);
  EXPECT_EQ(types_of({}, "Q4_K_M").at("output.weight"), Type::Q6_K);
  EXPECT_EQ(types_of({}, "Q8_0").at("output.weight"), Type::Q8_0);
}

TEST(Mixes, OptionsOverrule) {
  EXPECT_EQ(types_of({}, "Q4_K_M", {.pure = true}).at("output.weight"), Type::Q4_K);
  EXPECT_EQ(types_of({}, "Q4_K_M", {.leave_output_tensor = true}).at("output.weight"), Type::F32);
  EXPECT_EQ(types_of({}, "Q4_K_M", {.output_tensor_type = Type::F16}).at("output.weight"), Type::F16);
  EXPECT_EQ(types_of({.tied = true}, "Q4_K_M", {.output_tensor_type = Type::Q8_0}).at("token_embd.weight"),
            Type::Q8_0);
  EXPECT_EQ(types_of({}, "Q4_K_M", {.token_embedding_type = Type::Q8_0}).at("token_embd.weight"), Type::Q8_0);
  EXPECT_EQ(types_of({.n_layers = 16}, "Q4_0", {.has_importance = true}).at("blk.1.ffn_down.weight"),
            Type::Q4_1);
  EXPECT_EQ(types_of({.n_layers = 16}, "Q4_0").at("blk.1.ffn_down.weight"), Type::Q4_0);
}

TEST(Mixes, RowsThatABlockDoesNotDivideFallBack) {
  const ModelShape narrow = {.n_layers = 8, .n_embd = 96, .n_ff = 288, .n_head = 4, .n_head_kv = 4};
  Types types = types_of(narrow, "Q4_K_M");
  EXPECT_EQ(types.at("blk.1.attn_q.weight"), Type::Q5_0);
  EXPECT_EQ(types.at("blk.0.attn_v.weight"), Type::Q8_0);  // for Q6_K
  EXPECT_EQ(types.at("output.weight"), Type::Q8_0);
  EXPECT_EQ(types_of(narrow, "Q5_K_S").at("blk.1.attn_q.weight"), Type::Q5_1);
  EXPECT_EQ(types_of(narrow, "Q2_K").at("blk.1.attn_q.weight"), Type::Q4_0);
  EXPECT_EQ(types_of(narrow, "Q3_K_S").at("blk.1.attn_q.weight"), Type::Q4_0);
  EXPECT_EQ(types_of(narrow, "Q6_K").at("blk.1.attn_q.weight"), Type::Q8_0);
  const ModelShape odd = {.n_embd = 40, .n_ff = 100, .n_head = 4, .n_head_kv = 4};
  EXPECT_EQ(types_of(odd, "Q4_K_M").at("blk.1.ffn_up.weight"), Type::F16);
  EXPECT_EQ(types_of(odd, "Q8_0").at("blk.1.ffn_up.weight"), Type::F16);
  EXPECT_EQ(types_of(odd, "Q8_0").at("blk.1.attn_norm.weight"), Type::F32);
}

TEST(Mixes, AFallbackKnowsWhatWasWanted) {
  const TemporaryFolder folder;
  const ModelShape narrow = {.n_embd = 96, .n_ff = 288, .n_head = 4, .n_head_kv = 4};
  const Gguf model = Gguf::open(TestModel(narrow).write(folder.at("model.gguf")));
  const auto choices = choose_types(model, *find_mix("Q4_K_M"), {});
  for (size_t i = 0; i < choices.size(); ++i) {
    if (model.tensors()[i].name == "output.weight") {
      EXPECT_EQ(choices[i].wanted, Type::Q6_K);
    }
  }
}

}  // namespace
}  // namespace lora
