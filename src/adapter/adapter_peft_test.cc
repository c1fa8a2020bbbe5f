#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "adapter/adapter.h"
#include "adapter/peft_config.h"
#include "adapter/peft_names.h"
#include "adapter/peft_test_util.h"
#include "gguf/safetensors.h"

namespace lora {
namespace adapter_peft_test {

using nlohmann::ordered_json;
using testing::AllOf;
using testing::HasSubstr;
using namespace test;

TEST(AdapterPeft, EveryModuleHasItsTensor) {
  PeftFolder peft;
  peft.pair(layer("self_attn.q_proj"), 8, 8, 2);
  peft.pair(layer("self_attn.k_proj"), 8, 4, 2);
  peft.pair(layer("self_attn.v_proj"), 8, 4, 2);
  peft.pair(layer("self_attn.o_proj"), 8, 8, 2);
  peft.pair(layer("mlp.gate_proj"), 8, 6, 2);
  peft.pair(layer("mlp.up_proj"), 8, 6, 2);
  peft.pair(layer("mlp.down_proj"), 6, 8, 2);
  peft.pair("base_model.model.lm_head", 8, 10, 2);
  peft.tensor("base_model.model.model.embed_tokens.lora_embedding_A", {2, 10}, numbers(20, 1));
  peft.tensor("base_model.model.model.embed_tokens.lora_embedding_B", {8, 2}, numbers(16, 2));
  const Adapter adapter = peft.read();
  EXPECT_EQ(adapter.architecture, "llama");
  EXPECT_EQ(adapter.alpha, 4);
  std::vector<std::string> names;
  for (const LoraPair& pair : adapter.pairs) names.push_back(pair.base);
  EXPECT_THAT(names, testing::UnorderedElementsAre(
                         "blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight",
                         "blk.0.attn_output.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight",
                         "blk.0.ffn_down.weight", "output.weight", "token_embd.weight"));
  expect_equal(*adapter.find("blk.0.ffn_down.weight"),
               {"blk.0.ffn_down.weight", 6, 8, 2, peft.a_of(layer("mlp.down_proj"), 12),
                peft.b_of(layer("mlp.down_proj"), 16)});
  expect_equal(*adapter.find("token_embd.weight"),
               {"token_embd.weight", 10, 8, 2, numbers(20, 1), numbers(16, 2)});
}

// The rotation that Hugging Face applies to q at position p, and ggml's after the permutation, act on the
// same pairs: so B's row j of a half is next to row j of the other half.
TEST(AdapterPeft, RowsOfQAndKArePermutedByTheirHeads) {
  PeftFolder peft;
  peft.pair(layer("self_attn.q_proj"), 8, 8, 2);
  peft.pair(layer("self_attn.k_proj"), 8, 4, 2);
  peft.pair(layer("self_attn.v_proj"), 8, 4, 2);
  const Adapter adapter = peft.read();
  const int q_rows[] = {0, 2, 1, 3, 4, 6, 5, 7};  // two heads of four rows
  const LoraPair& q = *adapter.find("blk.0.attn_q.weight");
  const std::vector<float> b = peft.b_of(layer("self_attn.q_proj"), 16);
  for (int row = 0; row < 8; ++row) {
    for (int r = 0; r < 2; ++r) EXPECT_EQ(q.b[size_t(row * 2 + r)], b[size_t(q_rows[row] * 2 + r)]) << row;
  }
  EXPECT_EQ(q.a, peft.a_of(layer("self_attn.q_proj"), 16));
  const int k_rows[] = {0, 2, 1, 3};  // one head
  const LoraPair& k = *adapter.find("blk.0.attn_k.weight");
  const std::vector<float> k_b = peft.b_of(layer("self_attn.k_proj"), 8);
  for (int row = 0; row < 4; ++row) {
    for (int r = 0; r < 2; ++r) EXPECT_EQ(k.b[size_t(row * 2 + r)], k_b[size_t(k_rows[row] * 2 + r)]) << row;
  }
  EXPECT_EQ(adapter.find("blk.0.attn_v.weight")->b, peft.b_of(layer("self_attn.v_proj"), 8));
}

// scale x B as PEFT has it.
void expect_scaled_b(const Adapter& adapter, const std::string& base, const std::vector<float>& b,
                     double scale) {
  const LoraPair& pair = *adapter.find(base);
  ASSERT_EQ(pair.b.size(), b.size());
  for (size_t i = 0; i < b.size(); ++i) {
    EXPECT_NEAR(adapter.scale(pair) * pair.b[i], scale * b[i], 1e-6 * std::abs(scale)) << base;
  }
}

TEST(AdapterPeft, RsLoraScalesByTheRootOfTheRank) {
  PeftFolder peft;
  peft.config = plain_config(4, 6);
  peft.config["use_rslora"] = true;
  peft.pair(layer("mlp.up_proj"), 8, 6, 4);
  const Adapter adapter = peft.read();
  EXPECT_EQ(adapter.alpha, 12);  // 12 / 4 = 6 / sqrt(4), so B stays as it is
  EXPECT_EQ(adapter.pairs.at(0).b, peft.b_of(layer("mlp.up_proj"), 24));
  expect_scaled_b(adapter, "blk.0.ffn_up.weight", peft.b_of(layer("mlp.up_proj"), 24), 3);
}

TEST(AdapterPeft, RankAndAlphaPatternsAreFoldedIn) {
  PeftFolder peft;
  peft.config = plain_config(2, 4);
  peft.config["rank_pattern"] = {{"up_proj", 4}, {"layers.0.mlp.down_proj", 1}};
  peft.config["alpha_pattern"] = {{".*mlp\\.(up|down)_proj", 3}, {"down_proj", 100}, {"proj", 200}};
  peft.pair(layer("mlp.up_proj"), 8, 6, 4);
  peft.pair(layer("mlp.down_proj"), 6, 8, 1);
  peft.pair(layer("mlp.gate_proj"), 8, 6, 2);
  const Adapter adapter = peft.read();
  expect_scaled_b(adapter, "blk.0.ffn_up.weight", peft.b_of(layer("mlp.up_proj"), 24), 3.0 / 4);
  expect_scaled_b(adapter, "blk.0.ffn_down.weight", peft.b_of(layer("mlp.down_proj"), 8), 3.0);
  expect_scaled_b(adapter, "blk.0.ffn_gate.weight", peft.b_of(layer("mlp.gate_proj"), 12), 2);
}

TEST(AdapterPeft, PlainScaleLeavesBUntouched) {
  PeftFolder peft;
  peft.pair(layer("mlp.up_proj"), 8, 6, 2);
  EXPECT_EQ(peft.read().pairs.at(0).b, peft.b_of(layer("mlp.up_proj"), 12));
}

TEST(AdapterPeft, AlphaZeroTurnsItOffAsInPeft) {
  PeftFolder peft;
  peft.config["lora_alpha"] = 0;
  peft.pair(layer("mlp.up_proj"), 8, 6, 2);
  expect_scaled_b(peft.read(), "blk.0.ffn_up.weight", peft.b_of(layer("mlp.up_proj"), 12), 0);
}

TEST(AdapterPeft, AdapterNameInTensorNamesIsAccepted) {
  PeftFolder peft;
  peft.tensor(layer("mlp.up_proj.lora_A.default.weight"), {2, 8}, numbers(16, 1));
  peft.tensor(layer("mlp.up_proj.lora_B.default.weight"), {6, 2}, numbers(12, 2));
  EXPECT_EQ(peft.read().pairs.at(0).base, "blk.0.ffn_up.weight");
}

// As PEFT 0.19 writes it, all of it.
TEST(AdapterPeft, EverySettingOfAPlainLoraPasses) {
  PeftFolder peft;
  peft.config = ordered_json::parse(R"({
    "alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null, "auto_mapping": {"a": "b"},
    "base_model_name_or_path": "org/model", "bias": "none", "corda_config": null, "ensure_weight_tying": false,
    "eva_config": null, "exclude_modules": null, "fan_in_fan_out": false, "inference_mode": true,
    "init_lora_weights": true, "layer_replication": null, "layers_pattern": "layers",
    "layers_to_transform": [0, 1], "loftq_config": {}, "lora_alpha": 4, "lora_bias": false,
    "lora_dropout": 0.05, "lora_ga_config": null, "megatron_config": null, "megatron_core": "megatron.core",
    "modules_to_save": null, "peft_type": "LORA", "peft_version": "0.19.1", "qalora_group_size": 16, "r": 2,
    "rank_pattern": {}, "revision": "main", "target_modules": ["up_proj"], "target_parameters": null,
    "task_type": "CAUSAL_LM", "trainable_token_indices": null, "use_bdlora": null, "use_dora": false,
    "use_qalora": false, "use_rslora": false})");
  peft.pair(layer("mlp.up_proj"), 8, 6, 2);
  EXPECT_EQ(peft.error(), "");
}

TEST(AdapterPeft, WhatIsLeftOutIsListedAndTheRestRead) {
  PeftFolder peft;
  peft.pair(layer("mlp.up_proj"), 8, 6, 2);
  peft.config["use_dora"] = true;
  peft.config["modules_to_save"] = {"lm_head"};
  peft.tensor(layer("mlp.up_proj.lora_magnitude_vector"), {6}, numbers(6, 1));
  peft.tensor("base_model.model.lm_head.weight", {2, 1}, numbers(2, 1));
  peft.tensor(layer("mlp.up_proj.lora_B.bias"), {6}, numbers(6, 1));
  peft.tensor("base_model.model.model.embed_tokens.trainable_tokens_delta", {1, 8}, numbers(8, 1));
  peft.tensor(layer("mlp.experts.up_proj.lora_A.weight"), {2, 8}, numbers(16, 1));
  peft.write(peft.scratch.path());
  std::vector<LeftOut> left_out;
  const Adapter adapter = read_adapter_peft(peft.scratch.path(), {"llama", 2, 1}, &left_out);
  ASSERT_EQ(adapter.pairs.size(), 1u);
  EXPECT_EQ(adapter.pairs[0].b, peft.b_of(layer("mlp.up_proj"), 12));
  std::vector<std::string> what;
  for (const LeftOut& one : left_out) what.push_back(one.what);
  EXPECT_THAT(what, testing::UnorderedElementsAre(
                        "use_dora", "modules_to_save", HasSubstr("lora_magnitude_vector"),
                        HasSubstr("lm_head.weight"), HasSubstr("lora_B.bias"),
                        HasSubstr("trainable_tokens_delta"), HasSubstr("mlp.experts.up_proj")));
}

TEST(AdapterPeft, ACopyOfTheEmbeddingBesideItsLoraIsPassedOver) {
  PeftFolder peft;
  peft.pair(layer("mlp.up_proj"), 8, 6, 2);
  peft.tensor("base_model.model.model.embed_tokens.base_layer.weight", {10, 8}, numbers(80, 1));
  EXPECT_EQ(peft.error(), "");
  peft.tensor("base_model.model.model.lm_head.base_layer.weight", {11, 8}, numbers(88, 1));
  EXPECT_THAT(peft.error(), HasSubstr("a vocabulary with new tokens"));
}

// The permutation is the one of the model's own conversion: Hugging Face's weights of q and k, passed off as
// B, come out as the GGUF has them.
TEST(AdapterPeft, RowsMoveAsInTheConvertedModel) {
  const std::string models = LORA_SHARED_DIR "/models/";
  if (!std::filesystem::exists(models + "tiny-hf")) GTEST_SKIP() << "no " << models;
  const Gguf converted = Gguf::open(models + "tiny-f32.gguf");
  const SafeTensors original = SafeTensors::open(models + "tiny-hf/model.safetensors");
  PeftFolder peft;
  peft.config = plain_config(256, 256);
  const std::vector<std::pair<std::string, std::string>> modules = {{"self_attn.q_proj", "attn_q"},
                                                                    {"self_attn.k_proj", "attn_k"}};
  for (const auto& [hf, gguf] : modules) {
    const SafeTensor& weight = original.tensor("model.layers.0." + hf + ".weight");
    peft.tensor(layer(hf + ".lora_A.weight"), {256, 1}, numbers(256, 1));
    peft.tensor(layer(hf + ".lora_B.weight"), weight.shape, weight.to_f32());
  }
  peft.write(peft.scratch.path());
  const Adapter adapter = read_adapter_peft(peft.scratch.path(), peft_base(converted));
  for (const auto& [hf, gguf] : modules) {
    const GgufTensor& tensor = converted.tensor("blk.0." + gguf + ".weight");
    const LoraPair& pair = *adapter.find(tensor.name);
    ASSERT_EQ(tensor.data.size(), pair.b.size() * sizeof(float));
    EXPECT_EQ(0, std::memcmp(tensor.data.data(), pair.b.data(), tensor.data.size())) << tensor.name;
  }
}

// Folders that PEFT wrote for the bundled model.
TEST(AdapterPeft, FoldersWrittenByPeftFitTheBundledModel) {
  const std::string golden = LORA_SHARED_DIR "/golden/";
  if (!std::filesystem::exists(golden + "tiny-peft")) GTEST_SKIP() << "no " << golden;
  const Gguf base = Gguf::open(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  const Adapter plain = read_adapter(golden + "tiny-peft", base);
  EXPECT_EQ(plain.pairs.size(), 42u);  // seven targets in six layers
  EXPECT_EQ(plain.alpha, 16);
  const SafeTensors file = SafeTensors::open(golden + "tiny-peft/adapter_model.safetensors");
  EXPECT_EQ(plain.find("blk.5.ffn_gate.weight")->b,
            file.tensor("base_model.model.model.layers.5.mlp.gate_proj.lora_B.weight").to_f32());

  const Adapter patterns = read_adapter(golden + "tiny-peft-pattern", base);
  EXPECT_EQ(patterns.find("blk.3.attn_q.weight")->rank, 4);
  EXPECT_EQ(patterns.find("blk.2.ffn_down.weight")->rank, 2);
  EXPECT_EQ(patterns.find("blk.1.ffn_down.weight")->rank, 8);
  EXPECT_EQ(read_adapter(golden + "tiny-peft-rslora", base).pairs.size(), 42u);
}

// A stack of matrices that are tensors of their own is counted by asking for each: for every expert of the
// adapter that would be the square of their number.
TEST(AdapterPeft, TheSizesOfAStackAreAskedForOnce) {
  constexpr int kExperts = 40;
  PeftFiles peft;
  for (int e = 0; e < kExperts; ++e) {
    for (const char* part : {"gate_proj", "down_proj"})
      peft.pair(layer(fmt::format("mlp.experts.{}.{}", e, part)), 4, 4, 2);
  }
  std::map<std::string, int, std::less<>> n_asked;
  PeftBase base{.architecture = "qwen2moe", .n_head = 2, .n_head_kv = 1};
  base.shape = [&](std::string_view tensor) -> std::optional<PairShape> {
    ++n_asked[std::string(tensor)];
    return tensor.find("_exps.") == tensor.npos ? std::nullopt : std::optional(PairShape{4, 4, kExperts});
  };
  const std::string files = peft.safetensors();
  const Adapter adapter = parse_adapter_peft(peft.config.dump(), test::as_bytes(files), base, nullptr);
  ASSERT_EQ(adapter.pairs.size(), 2u);
  for (const LoraPair& pair : adapter.pairs) EXPECT_EQ(pair.n_slices, kExperts) << pair.base;
  for (const auto& [tensor, n] : n_asked) EXPECT_EQ(n, 1) << tensor;
  EXPECT_TRUE(n_asked.contains("blk.0.ffn_gate_exps.weight"));
}

}  // namespace adapter_peft_test
}  // namespace lora
