#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "adapter/adapter.h"
#include "adapter/adapter_test_util.h"
#include "adapter/peft_config.h"
#include "adapter/peft_names.h"
#include "gguf/safetensors.h"

namespace lora {
namespace {

using nlohmann::ordered_json;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kLayer = "base_model.model.model.layers.0.";

// A PEFT folder for the small base.
struct PeftFolder : PeftFiles {
  ScratchFolder scratch;

  Adapter read() const {
    write(scratch.path());
    return read_adapter(scratch.path(), small_base(scratch));
  }
  std::string error() const {
    return error_of([&] { read(); });
  }
};

std::string layer(const std::string& module) {
  return kLayer + module;
}

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

TEST(AdapterPeftErrors, WhatIsNotPlainLoraIsRefusedByName) {
  const std::vector<std::pair<std::string, ordered_json>> settings = {
      {"use_dora", true},   {"modules_to_save", {"lm_head"}}, {"bias", "all"},
      {"lora_bias", true},  {"layer_replication", {{0, 1}}},  {"trainable_token_indices", {1, 2}},
      {"use_qalora", true}, {"fan_in_fan_out", true},         {"alora_invocation_tokens", {5}},
  };
  for (const auto& [key, value] : settings) {
    PeftFolder peft;
    peft.pair(layer("mlp.up_proj"), 8, 6, 2);
    peft.config[key] = value;
    EXPECT_THAT(peft.error(),
                AllOf(HasSubstr("adapter_config.json: " + key + ": "), HasSubstr("not supported")));
  }
}

TEST(AdapterPeftErrors, SettingsThatAreNotKnownAreRefusedOrLeftOut) {
  for (const ordered_json& value :
       {ordered_json(true), ordered_json(3), ordered_json("x"), ordered_json({1})}) {
    PeftFolder peft;
    peft.pair(layer("mlp.up_proj"), 8, 6, 2);
    peft.config["use_something_new"] = value;
    EXPECT_THAT(peft.error(), HasSubstr("adapter_config.json: use_something_new: not known"));
    std::vector<LeftOut> left_out;
    read_adapter_peft(peft.scratch.path(), {"llama", 2, 1}, &left_out);
    ASSERT_EQ(left_out.size(), 1u);
    EXPECT_EQ(left_out[0].what, "use_something_new");
  }
  PeftFolder off;
  off.pair(layer("mlp.up_proj"), 8, 6, 2);
  off.config["use_something_new"] = nullptr;
  off.config["use_another"] = false;
  off.config["another_config"] = ordered_json::object();
  EXPECT_EQ(off.error(), "");
}

TEST(AdapterPeftErrors, NewMethodsOfPeftAreRefusedByName) {
  for (const char* key : {"use_bdlora", "arrow_config", "monteclora_config", "kasa_config", "megatron_config",
                          "ensure_weight_tying", "enable_lora", "target_parameters"}) {
    PeftFolder peft;
    peft.pair(layer("mlp.up_proj"), 8, 6, 2);
    peft.config[key] = ordered_json{{"n", 1}};
    EXPECT_THAT(peft.error(), AllOf(HasSubstr(std::string("adapter_config.json: ") + key), HasSubstr("not")));
  }
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

TEST(AdapterPeftErrors, WeightsBesideTheAdapterAreRefusedOrLeftOut) {
  for (const char* name : {"non_lora_trainables.bin", "new_embeddings.safetensors", "trainable_params.bin",
                           "embeddings.pt", "adapter_model-00001-of-00002.safetensors"}) {
    PeftFolder peft;
    peft.pair(layer("mlp.up_proj"), 8, 6, 2);
    write_file(peft.scratch.file(name), "x");
    EXPECT_THAT(peft.error(), HasSubstr(std::string(name) + ": weights beside the LoRA are not supported"));
    std::vector<LeftOut> left_out;
    EXPECT_EQ(read_adapter_peft(peft.scratch.path(), {"llama", 2, 1}, &left_out).pairs.size(), 1u);
    ASSERT_EQ(left_out.size(), 1u);
    EXPECT_EQ(left_out[0].what, name);
  }
  PeftFolder training;
  training.pair(layer("mlp.up_proj"), 8, 6, 2);
  for (const char* name :
       {"optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin", "scaler.pt",
        "adapter_model.bin", "model.safetensors", "README.md", "tokenizer.json"}) {
    write_file(training.scratch.file(name), "x");
  }
  EXPECT_EQ(training.error(), "");
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

// What by itself would be another adapter is refused in any case.
TEST(AdapterPeftErrors, SomeSettingsCannotBeLeftOut) {
  for (const char* key : {"layer_replication", "alora_invocation_tokens", "use_qalora", "fan_in_fan_out"}) {
    PeftFolder peft;
    peft.pair(layer("mlp.up_proj"), 8, 6, 2);
    peft.config[key] = {1};
    peft.write(peft.scratch.path());
    std::vector<LeftOut> left_out;
    EXPECT_THAT(error_of([&] {
                  read_adapter_peft(peft.scratch.path(), {"llama", 2, 1}, &left_out);
                }),
                HasSubstr(key));
  }
}

TEST(AdapterPeft, ACopyOfTheEmbeddingBesideItsLoraIsPassedOver) {
  PeftFolder peft;
  peft.pair(layer("mlp.up_proj"), 8, 6, 2);
  peft.tensor("base_model.model.model.embed_tokens.base_layer.weight", {10, 8}, numbers(80, 1));
  EXPECT_EQ(peft.error(), "");
  peft.tensor("base_model.model.model.lm_head.base_layer.weight", {11, 8}, numbers(88, 1));
  EXPECT_THAT(peft.error(), HasSubstr("a vocabulary with new tokens"));
}

TEST(AdapterPeftErrors, SettingsThatAreOffPass) {
  PeftFolder peft;
  peft.pair(layer("mlp.up_proj"), 8, 6, 2);
  for (const char* key : {"use_dora", "lora_bias", "use_rslora"}) peft.config[key] = false;
  for (const char* key : {"modules_to_save", "layer_replication", "rank_pattern"}) peft.config[key] = nullptr;
  peft.config["alpha_pattern"] = ordered_json::object();
  EXPECT_EQ(peft.error(), "");
}

TEST(AdapterPeftErrors, TensorsBeyondPlainLora) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {layer("mlp.up_proj.lora_magnitude_vector"), "DoRA"},
      {"base_model.model.lm_head.weight", "modules_to_save"},
      {layer("mlp.up_proj.lora_B.bias"), "biases"},
      {layer("mlp.up_proj.lora_C.weight"), "expected base_model.model.MODULE.lora_A.weight"},
      {layer("mlp.experts.up_proj.lora_A.weight"), "architecture llama has no such module"},
  };
  for (const auto& [name, why] : cases) {
    PeftFolder peft;
    peft.pair(layer("mlp.up_proj"), 8, 6, 2);
    peft.tensor(name, {6, 1}, numbers(6, 1));
    EXPECT_THAT(peft.error(), AllOf(HasSubstr("tensor " + name), HasSubstr(why)));
  }
}

TEST(AdapterPeftErrors, RankOtherThanTheConfigs) {
  PeftFolder peft;
  peft.pair(layer("mlp.up_proj"), 8, 6, 3);
  EXPECT_THAT(
      peft.error(),
      HasSubstr("module model.layers.0.mlp.up_proj: expected rank 2 as in adapter_config.json, found 3"));
}

TEST(AdapterPeftErrors, RowsThatTheHeadsDoNotDivide) {
  PeftFolder peft;
  peft.pair(layer("self_attn.q_proj"), 8, 6, 2);
  EXPECT_THAT(peft.error(), HasSubstr("expected a multiple of 2 rows for each of 2 heads, found 6"));
}

TEST(AdapterPeftErrors, EmptyTensor) {
  PeftFolder peft;
  peft.tensor(layer("self_attn.q_proj.lora_A.weight"), {0, 8}, {});
  peft.tensor(layer("self_attn.q_proj.lora_B.weight"), {int64_t{1} << 40, 0}, {});
  EXPECT_THAT(peft.error(), HasSubstr("expected at least one row and column"));
}

TEST(AdapterPeftErrors, WrongShape) {
  PeftFolder peft;
  peft.pair(layer("mlp.up_proj"), 8, 7, 2);
  EXPECT_THAT(peft.error(), HasSubstr("tensor blk.0.ffn_up.weight: expected a pair for 8 x 6"));
}

TEST(AdapterPeftErrors, ADamagedArchiveIsNamed) {
  const ScratchFolder folder;
  write_file(folder.file("adapter_config.json"), plain_config().dump());
  write_file(folder.file("adapter_model.bin"), "PK");
  EXPECT_THAT(error_of([&] { read_adapter(folder.path(), small_base(folder)); }),
              HasSubstr("adapter_model.bin: not a readable zip archive"));
}

TEST(AdapterPeftErrors, FolderWithoutWeights) {
  const ScratchFolder folder;
  write_file(folder.file("adapter_config.json"), plain_config().dump());
  EXPECT_THAT(error_of([&] { read_adapter(folder.path(), small_base(folder)); }),
              AllOf(HasSubstr("adapter_model.safetensors"), HasSubstr("cannot open")));
}

TEST(AdapterPeftErrors, FolderOfAModel) {
  const ScratchFolder folder;
  write_file(folder.file("config.json"), "{}");
  EXPECT_THAT(error_of([&] { read_peft_config(folder.path()); }), HasSubstr("holds a model, not a LoRA"));
}

TEST(AdapterPeftErrors, ArchitectureWithoutNameTable) {
  const ScratchFolder folder;
  EXPECT_THAT(
      error_of([&] {
        read_adapter_peft(folder.path(), {"mamba", 2, 1});
      }),
      AllOf(HasSubstr("architecture mamba: the names of its modules"), HasSubstr("known: llama, qwen2,")));
}

TEST(AdapterPeftErrors, MalformedConfigs) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "not JSON: it is empty"},
      {"[1]", "expected a JSON object"},
      {"{\"r\": 2", "expected a JSON object"},
      {std::string(30000, ':'), "more than 20000 fields"},
      {"{\"r\": 2}", "peft_type: expected \"LORA\", found none"},
      {"{\"peft_type\": \"IA3\"}", "peft_type: expected \"LORA\", found \"IA3\""},
      {"{\"peft_type\": 1}", "peft_type: expected \"LORA\", found number"},
      {"{\"peft_type\": " + std::string(200000, '[') + std::string(200000, ']') + "}",
       "nests deeper than it should"},
      {"{\"peft_type\": \"LORA\", \"lora_alpha\": 4}", "r: missing"},
      {"{\"peft_type\": \"LORA\", \"r\": 4}", "lora_alpha: missing"},
      {"{\"peft_type\": \"LORA\", \"r\": 0, \"lora_alpha\": 4}", "r: expected a positive whole number"},
      {"{\"peft_type\": \"LORA\", \"r\": 1.5, \"lora_alpha\": 4}", "r: expected a positive whole number"},
      {"{\"peft_type\": \"LORA\", \"r\": \"4\", \"lora_alpha\": 4}", "r: expected a number, found string"},
      {"{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": null}", "lora_alpha: expected a number"},
      {"{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 4, \"rank_pattern\": [1]}",
       "rank_pattern: expected an object"},
      {"{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 4, \"rank_pattern\": {\"q\": 0}}",
       "rank_pattern.q"},
      {"{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 4, \"alpha_pattern\": {\"(\": 1}}",
       "not a regular expression"},
  };
  for (const auto& [text, why] : cases) {
    const ScratchFolder folder;
    write_file(folder.file("adapter_config.json"), text);
    EXPECT_THAT(error_of([&] { read_peft_config(folder.path()); }),
                AllOf(HasSubstr(folder.file("adapter_config.json")), HasSubstr(why)))
        << text.substr(0, 100);
  }
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

}  // namespace
}  // namespace lora
