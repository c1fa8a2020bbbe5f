// What lora convert-lora refuses or leaves out, and that nothing is left behind.
#include <cmath>
#include <map>

#include "convert_lora_folder.h"

namespace lora::test {
namespace convert_lora_refuses_test {

using nlohmann::ordered_json;
using testing::AllOf;
using testing::HasSubstr;

TEST(ConvertLoraRefuses, WhatCannotBeExpressedIsRefusedOrLeftOutWithAWarning) {
  const auto add_setting = [](const char* key, const ordered_json& value) {
    return [key, value](PeftFiles& peft) { peft.config[key] = value; };
  };
  const auto add_tensor = [](const std::string& name) {
    return [name](PeftFiles& peft) { peft.tensor(name, {768}, numbers(768, 3)); };
  };
  const std::vector<std::pair<std::function<void(PeftFiles&)>, std::string>> cases = {
      {add_setting("use_dora", true), "DoRA"},
      {add_setting("modules_to_save", {"lm_head"}), "modules_to_save"},
      {add_setting("bias", "lora_only"), "biases"},
      {add_setting("lora_bias", true), "biases"},
      {add_setting("trainable_token_indices", {1, 2}), "trained token rows"},
      {add_tensor(kLoraLayer + "mlp.up_proj.lora_magnitude_vector"), "DoRA"},
      {add_tensor("base_model.model.model.embed_tokens.weight"), "a vocabulary with new tokens"},
      {add_tensor(kLoraLayer + "mlp.up_proj.lora_B.bias"), "biases"},
      {[](PeftFiles& peft) { peft.pair("base_model.model.lm_head", 256, 4098, 2); }, "output"},
      {[](PeftFiles& peft) {
         peft.tensor("base_model.model.model.embed_tokens.lora_embedding_A", {2, 4099}, numbers(2 * 4099, 1));
         peft.tensor("base_model.model.model.embed_tokens.lora_embedding_B", {256, 2}, numbers(512, 1));
       },
       "3 tokens beyond the 4096"},
  };
  for (const auto& [spoil, why] : cases) {
    LoraFolder folder;
    spoil(folder.peft);
    folder.write_peft();
    const std::set<std::string> before = folder.names();
    const RunResult refused = folder.convert();
    expect_error(refused, 1, why);
    EXPECT_THAT(refused.err, HasSubstr("--skip-unsupported"));
    EXPECT_EQ(folder.names(), before);
    const RunResult run = folder.convert({"--skip-unsupported"});
    ASSERT_EQ(run.status, 0) << run.err;
    EXPECT_THAT(lines_of(run.err).front(), AllOf(HasSubstr("warning: left out: "), HasSubstr(why)));
    EXPECT_EQ(folder.converted().find("blk.0.ffn_up.weight")->b,
              folder.peft.b_of(kLoraLayer + "mlp.up_proj", 1536));
  }
}

// Rows of tokens that the model does not have go, those that it has stay.
TEST(ConvertLoraRefuses, OnlyTheNewTokensAreCut) {
  LoraFolder folder;
  const std::vector<float> a = numbers(2 * 4099, 5);
  folder.peft.tensor("base_model.model.model.embed_tokens.lora_embedding_A", {2, 4099}, a);
  folder.peft.tensor("base_model.model.model.embed_tokens.lora_embedding_B", {256, 2}, numbers(512, 6));
  ASSERT_EQ(folder.convert({"--skip-unsupported"}).status, 0);
  const Adapter adapter = folder.converted();
  const LoraPair& pair = *adapter.find("token_embd.weight");
  ASSERT_EQ(pair.n_in, 4096);
  for (const size_t token : {size_t{0}, size_t{4095}}) {
    EXPECT_EQ(pair.a[token], a[token]);
    EXPECT_EQ(pair.a[4096 + token], a[4099 + token]);
  }
  EXPECT_EQ(
      folder.lora({"eval", "-m", "model.gguf", "-p", "The old king said", "--lora", "peft-lora-F32.gguf"})
          .status,
      0);
}

TEST(ConvertLoraRefuses, WrongFilesAreOneErrorLineAndLeaveNothing) {
  struct Case {
    std::string why;
    std::function<void(LoraFolder&)> spoil;
  };
  const std::vector<Case> cases = {
      {"peft_type: expected \"LORA\", found \"IA3\"", [](auto& f) { f.peft.config["peft_type"] = "IA3"; }},
      {"peft_type: expected \"LORA\", found \"LOHA\"", [](auto& f) { f.peft.config["peft_type"] = "LOHA"; }},
      {"expected rank 3 as in adapter_config.json, found 2", [](auto& f) { f.peft.config["r"] = 3; }},
      {"r: expected a positive whole number", [](auto& f) { f.peft.config["r"] = -1; }},
      {"lora_alpha: expected a number of at most 1e30", [](auto& f) { f.peft.config["lora_alpha"] = 1e200; }},
      {"its B half is missing",
       [](auto& f) {
         f.peft.tensor(kLoraLayer + "mlp.gate_proj.lora_A.weight", {2, 256}, numbers(512, 1));
       }},
      {"expected the rank of",
       [](auto& f) {
         f.peft.tensor(kLoraLayer + "mlp.gate_proj.lora_A.weight", {2, 256}, numbers(512, 1));
         f.peft.tensor(kLoraLayer + "mlp.gate_proj.lora_B.weight", {768, 3}, numbers(2304, 1));
       }},
      {"expected a pair for 256 x 768 as in the model model.gguf, found 255 x 768",
       [](auto& f) { f.peft.pair(kLoraLayer + "mlp.gate_proj", 255, 768, 2); }},
      {"the model model.gguf has no such tensor",
       [](auto& f) { f.peft.pair("base_model.model.model.layers.6.mlp.up_proj", 256, 768, 2); }},
      {"blk.0.attn_v.weight.lora_a: holds a value that is not finite|"
       "self_attn.v_proj.lora_A.weight: holds a value that is not finite",
       [](auto& f) {
         std::vector<float> a(512, 1);
         a[7] = NAN;
         f.peft.tensor(kLoraLayer + "self_attn.v_proj.lora_A.weight", {2, 256}, a);
         f.peft.tensor(kLoraLayer + "self_attn.v_proj.lora_B.weight", {128, 2}, numbers(256, 1));
       }},
      // Two tensors have one alpha; folding the third's scale into its B overflows.
      {"blk.0.ffn_up.weight.lora_b: holds a value that is not finite|"
       "mlp.up_proj.lora_B.weight: holds a value that is not finite",
       [](auto& f) {
         f.peft.pair(kLoraLayer + "self_attn.v_proj", 256, 128, 2);
         f.peft.config["lora_alpha"] = 1e-20;
         f.peft.config["alpha_pattern"] = {{"up_proj", 1e30}};
       }},
      {"not what its shape takes",
       [](auto& f) {
         f.peft.header[kLoraLayer + "mlp.up_proj.lora_A.weight"]["shape"] = {1 << 20, 1 << 20};
       }},
      {"cannot be read as f32",
       [](auto& f) { f.peft.header[kLoraLayer + "mlp.up_proj.lora_A.weight"]["dtype"] = "I32"; }},
  };
  for (const auto& [why, spoil] : cases) {
    LoraFolder folder;
    spoil(folder);
    folder.write_peft();
    const std::set<std::string> before = folder.names();
    for (const char* flag : {"--outtype=f32", "--skip-unsupported", "--to-peft=new"}) {
      const size_t other = why.find('|');  // how a PEFT folder has it
      const bool is_other = other != why.npos && flag == std::string("--to-peft=new");
      expect_error(folder.convert({flag}), 1, is_other ? why.substr(other + 1) : why.substr(0, other));
      EXPECT_EQ(folder.names(), before) << why;
    }
  }
}

// Whatever it is called or however it is found.
TEST(ConvertLoraRefuses, NothingThatIsReadIsReplaced) {
  LoraFolder folder;
  folder.peft.config["base_model_name_or_path"] = "implied.gguf";
  folder.write_peft();
  folder.write("base.gguf.0123456789abcdef.tmp", folder.read("model.gguf"));
  std::filesystem::rename(folder.at("model.gguf"), folder.at("implied.gguf"));
  ASSERT_EQ(folder.lora({"convert-lora", "peft", "-o", "a.gguf.0123456789abcdef.tmp"}).status, 0);
  std::filesystem::create_directories(folder.at("to"));
  folder.write("to/adapter_config.json.0123456789abcdef.tmp", folder.read("a.gguf.0123456789abcdef.tmp"));
  const auto contents = [&] {
    std::map<std::string, std::string> result;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path)) {
      if (entry.is_regular_file()) result[entry.path().string()] = read_file(entry.path());
    }
    return result;
  };
  const auto before = contents();
  const std::vector<std::vector<std::string>> cases = {
      {"peft", "-o", "implied.gguf"},
      {"peft", "-o", "peft/adapter_model.safetensors"},
      {"peft", "-o", "peft/adapter_config.json"},
      {"peft", "--base", "base.gguf.0123456789abcdef.tmp", "-o", "base.gguf"},
      {"a.gguf.0123456789abcdef.tmp", "-o", "a.gguf"},
      {"to/adapter_config.json.0123456789abcdef.tmp", "--base", "implied.gguf", "--to-peft", "to"},
      {"peft", "--to-peft", "peft"},
  };
  for (const std::vector<std::string>& args : cases) {
    expect_error(folder.lora(std::vector<std::string>{"convert-lora"} + args), 1, "which is read");
    EXPECT_EQ(contents() == before, true) << args.back();
  }
  EXPECT_EQ(folder.lora({"convert-lora", "peft", "-o", "peft/new.gguf"}).status, 0);
}

TEST(ConvertLoraRefuses, WrongUseIsOneErrorLine) {
  const LoraFolder folder;
  folder.write_peft();
  folder.write("text.txt", "no adapter");
  ASSERT_EQ(folder.convert({"-o", "a.gguf"}).status, 0);
  const std::set<std::string> before = folder.names();
  const std::string peft_before = folder.read("peft/adapter_config.json");
  expect_error(folder.lora({"convert-lora"}), 2, "INPUT");
  expect_error(folder.convert({"--outtype", "q8_0"}), 2, "expected f32 or f16, found 'q8_0'");
  expect_error(folder.convert({"--to-peft", "p", "-o", "b.gguf"}), 2,
               "--outfile: not together with --to-peft");
  expect_error(folder.convert({"-o", "none/b.gguf"}), 1, "none/b.gguf");
  expect_error(folder.convert({"-o", "model.gguf"}), 1, "model.gguf: the output would replace");
  expect_error(folder.convert({"--to-peft", "./peft/"}), 1, "which is read");
  expect_error(folder.convert({"--to-peft", "text.txt"}), 1, "text.txt: cannot make the folder");
  expect_error(folder.convert({"--base", "nowhere.gguf"}), 1, "nowhere.gguf");
  expect_error(folder.convert({"--base", "a.gguf"}), 1, "a.gguf: holds a LoRA, not the model it belongs to");
  expect_error(folder.convert({"--base", "peft"}), 1, "peft: holds a LoRA, not a model");
  expect_error(folder.lora({"convert-lora", "text.txt"}), 1, "text.txt: not an adapter");
  expect_error(folder.lora({"convert-lora", "model.gguf"}), 1, "model.gguf: not a LoRA adapter");
  expect_error(folder.lora({"convert-lora", "nowhere"}), 1, "nowhere: cannot open");
  EXPECT_EQ(folder.names(), before);
  EXPECT_EQ(folder.read("peft/adapter_config.json"), peft_before);
  const RunResult help = folder.lora({"convert-lora", "--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.out, AllOf(HasSubstr("--to-peft"), HasSubstr("--base"), HasSubstr("Content")));
}

}  // namespace convert_lora_refuses_test
}  // namespace lora::test
