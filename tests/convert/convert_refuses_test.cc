// What conversion refuses, in which words, and that nothing is left behind then.
#include <cstring>

#include "converted.h"
#include "gguf/test_pytorch.h"

namespace lora {
namespace {

using namespace test;
using testing::AllOf;
using testing::HasSubstr;

// A folder in which one thing is wrong.
struct Broken : Converted {
  using Converted::Converted;
  std::string hf(const std::string& name) const { return folder.at("hf/" + name); }
  void config(const std::function<void(nlohmann::ordered_json&)>& change) const {
    auto json = nlohmann::ordered_json::parse(folder.read("hf/config.json"));
    change(json);
    folder.write("hf/config.json", json.dump());
  }
  std::string config_error(const char* key, const nlohmann::ordered_json& value) const {
    config([&](auto& json) { json[key] = value; });
    return error();
  }
};

TEST(ConvertRefuses, ConfigurationsThatLie) {
  EXPECT_THAT(Broken("llama2").config_error("hidden_size", 64),
              AllOf(HasSubstr("tensor 'model.embed_tokens.weight': expected 4096 x 64"),
                    HasSubstr("found 4096 x 128")));
  EXPECT_THAT(Broken("llama2").config_error("num_key_value_heads", 4),
              AllOf(HasSubstr("k_proj.weight': expected 128 x 128"),
                    HasSubstr("(num_key_value_heads x head_dim, hidden_size), found 64 x 128")));
  EXPECT_THAT(Broken("llama2").config_error("num_hidden_layers", 3),
              HasSubstr("tensor 'model.layers.2.input_layernorm.weight' is missing"));
  EXPECT_THAT(
      Broken("llama2").config_error("num_hidden_layers", 1),
      AllOf(HasSubstr("tensor 'model.layers.1.input_layernorm.weight' (and 8 more): a layer too many"),
            HasSubstr("num_hidden_layers is 1 in")));
  EXPECT_THAT(Broken("llama2").config_error("num_hidden_layers", 2000000000),
              HasSubstr("2000000000 layers, but"));
  EXPECT_THAT(Broken("llama2").config_error("num_attention_heads", -1),
              HasSubstr("num_attention_heads: -1 makes"));
  EXPECT_THAT(Broken("llama2").config_error("hidden_size", "x"),
              HasSubstr("hidden_size: \"x\" makes no sense"));
  EXPECT_THAT(Broken("llama2").config_error("num_key_value_heads", 3), HasSubstr("not divided by 3"));
  EXPECT_THAT(Broken("phi3").config_error("num_attention_heads", 2),
              HasSubstr("long_factor: 16 numbers for 32"));
  EXPECT_THAT(Broken("llama2").config_error("architectures", {"MambaForCausalLM"}),
              AllOf(HasSubstr("'MambaForCausalLM' is not supported"), HasSubstr("known: LlamaForCausalLM")));
  EXPECT_THAT(Broken("llama2").config_error("rope_scaling", {{"type", "magic"}}),
              HasSubstr("'magic' is not supported"));
  EXPECT_THAT(Broken("llama2").config_error("quantization_config", {{"quant_method", "gptq"}}),
              HasSubstr("quantized by 'gptq'"));
  const Broken nested("llama2");
  nested.folder.write("hf/config.json", std::string(100000, '['));
  EXPECT_THAT(nested.error(), HasSubstr("config.json: nests deeper"));
}

// Another function of the same weights, for which GGUF's architecture has no place.
TEST(ConvertRefuses, WhatGgufCannotHold) {
  EXPECT_THAT(Broken("llama2").config_error("hidden_act", "relu"),
              HasSubstr("hidden_act: relu: GGUF's llama computes silu"));
  EXPECT_THAT(Broken("gemma2").config_error("hidden_activation", "gelu"),
              HasSubstr("hidden_activation: gelu: GGUF's gemma2 computes gelu_pytorch_tanh"));
  EXPECT_THAT(Broken("qwen2").config_error("rope_scaling", {{"type", "llama3"}, {"factor", 8.0}}),
              HasSubstr("rope_scaling: llama3: GGUF's qwen2 has no place for it"));
  EXPECT_THAT(Broken("llama2").config_error("rope_scaling", {{"type", "longrope"}}),
              HasSubstr("rope_scaling: longrope: GGUF's llama"));
  EXPECT_THAT(Broken("qwen3").config_error("partial_rotary_factor", 0.5),
              HasSubstr("partial_rotary_factor: 0.5: GGUF's qwen3 rotates whole heads"));
  EXPECT_THAT(Broken("gemma2").config_error("query_pre_attn_scalar", 256),
              HasSubstr("query_pre_attn_scalar: 256: GGUF's gemma2 of 2 layers computes with 48"));
  EXPECT_THAT(Broken("gemma2").config_error("attn_logit_softcapping", nullptr),
              HasSubstr("attn_logit_softcapping: null: GGUF's gemma2 caps them"));
  EXPECT_THAT(Broken("gemma3").config_error("final_logit_softcapping", 30.0),
              HasSubstr("final_logit_softcapping: 30: GGUF's gemma3 caps none"));
  EXPECT_THAT(
      Broken("gemma3").config_error("sliding_window_pattern", 2),
      HasSubstr("sliding_window_pattern: 2: GGUF's gemma3 has a layer without a window after every 5"));
  EXPECT_THAT(Broken("gemma2").config_error("layer_types", {"full_attention", "full_attention"}),
              HasSubstr("layer_types: \"full_attention\" in layer 0"));
  EXPECT_THAT(Broken("llama2").config_error("layer_types", {"linear_attention", "full_attention"}),
              HasSubstr("layer_types: \"linear_attention\": GGUF's llama has no such layers"));
}

TEST(ConvertRefuses, BiasesThatGgufHasNoPlaceFor) {
  for (const std::string part : {"self_attn.o_proj", "mlp.up_proj"}) {
    const std::string bias = "model.layers.0." + part + ".bias";
    HfModel model = model_named("gemma2");
    model.tensors[bias] = model.tensors["model.norm.weight"];
    EXPECT_THAT(Broken(model).error(), HasSubstr("tensor '" + bias + "': not known for architecture gemma2"));
  }
}

TEST(ConvertRefuses, AnOutputThatGgufHasNoPlaceFor) {
  HfModel model = model_named("gemma2");
  model.tensors["lm_head.weight"] = model.tensors["model.embed_tokens.weight"];
  Broken(model).convert();  // a copy
  model.tensors["lm_head.weight"].bytes[0] ^= 1;
  EXPECT_THAT(Broken(model).error(), AllOf(HasSubstr("tensor 'lm_head.weight': is not the embedding"),
                                           HasSubstr("gemma2 has no output of its own")));
}

TEST(ConvertRefuses, ShardsThatAreMissing) {
  const Broken sharded("llama3");
  fs::remove(sharded.hf("model-00002-of-00003.safetensors"));
  EXPECT_THAT(sharded.error(),
              AllOf(HasSubstr("model-00002-of-00003.safetensors: missing"), HasSubstr("index.json")));
  fs::remove(sharded.hf("model.safetensors.index.json"));
  EXPECT_THAT(sharded.error(), HasSubstr("one of 3 shards, of which 2 are in the folder"));
  const Broken empty("llama2");
  fs::remove(empty.hf("model.safetensors"));
  EXPECT_THAT(empty.error(), HasSubstr("no model*.safetensors and no pytorch_model*.bin"));
  const Broken outside("llama3");
  outside.folder.write("hf/model.safetensors.index.json", R"({"weight_map": {"a": "../x.safetensors"}})");
  EXPECT_THAT(outside.error(), HasSubstr("is not the name of a file in the folder"));
}

TEST(ConvertRefuses, HostileWeights) {
  const Broken safetensors("llama2");
  const std::string good = safetensors.folder.read("hf/model.safetensors");
  std::string huge = good;
  const uint64_t lie = uint64_t{1} << 60;
  std::memcpy(huge.data(), &lie, sizeof lie);
  safetensors.folder.write("hf/model.safetensors", huge);
  EXPECT_THAT(safetensors.error(), HasSubstr("a header of 1152921504606846976 bytes"));
  safetensors.folder.write("hf/model.safetensors", good.substr(0, good.size() - 1000));
  EXPECT_THAT(safetensors.error(), HasSubstr("truncated"));
  std::string overlapping = good;
  const size_t second = overlapping.find("\"data_offsets\":[", overlapping.find("data_offsets") + 20) + 16;
  overlapping[second] = '1';  // another place of the same length, or another length
  safetensors.folder.write("hf/model.safetensors", overlapping);
  EXPECT_THAT(safetensors.error(), HasSubstr("model.safetensors: tensor"));

  const Broken pickle("smollm");
  PickleBytes call;
  call.global("posix", "system").op("(").text("touch /tmp/pwned").op("tR.");
  write_zip(pickle.hf("pytorch_model.bin"), {{"m/data.pkl", call.bytes.data}});
  EXPECT_THAT(pickle.error(), HasSubstr("pytorch_model.bin: refused: the pickle asks for posix.system"));
  write_zip(pickle.hf("pytorch_model.bin"), {{"m/data.pkl", std::string(10 << 20, '\0')}}, ZIP_CM_DEFLATE);
  EXPECT_THAT(pickle.error(), HasSubstr("pytorch_model.bin: archive entry m/data.pkl: refused: compressed"));
}

TEST(ConvertRefuses, ValuesThatTheTypeCannotHold) {
  HfModel model = model_named("llama2");
  std::string& bytes = model.tensors["model.layers.1.mlp.up_proj.weight"].bytes;
  const float large = 1e9f;
  std::memcpy(bytes.data() + 400, &large, sizeof large);
  const Broken broken(model);
  EXPECT_THAT(broken.error("f16"),
              AllOf(HasSubstr("model.layers.1.mlp.up_proj.weight"), HasSubstr("beyond what F16")));
  EXPECT_THAT(broken.error("q8_0"), HasSubstr("beyond what Q8_0 holds"));
  broken.convert("bf16");
}

TEST(ConvertRefuses, Tokenizers) {
  const Broken unigram("llama2");
  unigram.folder.write("hf/tokenizer.model", sentencepiece_bytes(kVocabulary, 1));
  EXPECT_THAT(unigram.error(), HasSubstr("tokenizer.model: a SentencePiece model of type unigram"));
  unigram.folder.write("hf/tokenizer.model", "not a protocol buffer");
  EXPECT_THAT(unigram.error(), HasSubstr("not a SentencePiece model, or a damaged one"));
  fs::remove(unigram.hf("tokenizer.model"));
  EXPECT_THAT(unigram.error(), HasSubstr("no tokenizer.model and no tokenizer.json"));
  unigram.folder.write("hf/tokenizer.json", R"({"model": {"type": "Unigram", "vocab": []}})");
  EXPECT_THAT(unigram.error(), HasSubstr("a tokenizer of type Unigram"));
  const Broken split("llama3");
  auto json = byte_level_tokenizer();
  json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "[a-z]+";
  split.folder.write("hf/tokenizer.json", json.dump());
  EXPECT_THAT(split.error(),
              AllOf(HasSubstr("pre_tokenizer: [a-z]+ is none that is known"), HasSubstr("llama-bpe")));
}

}  // namespace
}  // namespace lora
