// What of a PEFT folder is refused, in which words, and what may be left out.
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "adapter/adapter.h"
#include "adapter/peft_config.h"
#include "adapter/peft_names.h"
#include "adapter/peft_test_util.h"
#include "gguf/safetensors.h"

namespace lora {
namespace adapter_peft_refuses_test {

using nlohmann::ordered_json;
using testing::AllOf;
using testing::HasSubstr;
using namespace test;

TEST(AdapterPeftErrors, WhatIsNotPlainLoraIsRefusedByName) {
  const std::vector<std::pair<std::string, ordered_json>> settings = {
      {"use_dora", true},   {"modules_to_save", {"lm_head"}}, {"bias", "all"},
      {"lora_bias", true},  {"layer_replication", {{0, 1}}},  {"trainable_token_indices", {1, 2}},
      {"use_qalora", true}, {"alora_invocation_tokens", {5}},
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
                          "ensure_weight_tying", "enable_lora"}) {
    PeftFolder peft;
    peft.pair(layer("mlp.up_proj"), 8, 6, 2);
    peft.config[key] = ordered_json{{"n", 1}};
    EXPECT_THAT(peft.error(), AllOf(HasSubstr(std::string("adapter_config.json: ") + key), HasSubstr("not")));
  }
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

// What by itself would be another adapter is refused in any case.
TEST(AdapterPeftErrors, SomeSettingsCannotBeLeftOut) {
  for (const char* key : {"layer_replication", "alora_invocation_tokens", "use_qalora"}) {
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
  EXPECT_THAT(error_of([&] {
                read_adapter_peft(folder.path(), {"mamba", 2, 1});
              }),
              AllOf(HasSubstr("architecture mamba: the names of its modules"), HasSubstr("known: arcee, "),
                    HasSubstr(" llama, ")));
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
      {"{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 4, \"use_rslora\": 0}",
       "use_rslora: expected true or false, found number"},
      {"{\"lora_parameters\": {\"rank\": 4, \"scale\": 1}, \"fine_tune_type\": 1}",
       "fine_tune_type: expected \"lora\", found number"},
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

}  // namespace adapter_peft_refuses_test
}  // namespace lora
