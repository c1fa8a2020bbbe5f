// A config.json that the weights contradict, and what of a folder a GGUF cannot hold: what comes out, and the
// lines that say so.
#include <cmath>

#include "converted.h"
#include "family_models.h"

namespace lora {
namespace convert_trust_test {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

struct Result {
  Folder folder;
  std::vector<std::string> lines;
  std::optional<Gguf> gguf;

  explicit Result(const HfModel& model, const std::string& type = "f32") {
    write_hf_folder(model, folder.at("hf"), kVocabulary);
    ConvertOptions options;
    options.folder = folder.at("hf");
    options.outfile = folder.at("out.gguf");
    options.outtype = type;
    options.n_threads = 2;
    ConvertEvents events;
    events.say = [&](std::string_view line) { lines.emplace_back(line); };
    gguf = Gguf::open(convert(options, events).files.front());
  }
  bool has(const char* tensor) const { return gguf->find_tensor(tensor); }
};

HfModel with(const std::string& name, const std::string& key, const nlohmann::ordered_json& value) {
  HfModel model = model_named(name);
  model.config[key] = value;
  return model;
}

// A matrix of the embedding's shape that is not the embedding.
HfStored other_output(const HfModel& model) {
  HfStored output = model.tensors.at("model.embed_tokens.weight");
  output.bytes.back() ^= 1;
  return output;
}

TEST(ConvertTrusts, AnOutputOfItsOwnIsKeptWhateverConfigSays) {
  for (const char* name : {"llama3", "smollm", "gemma3"}) {
    HfModel model = model_named(name);
    ASSERT_EQ(model.config["tie_word_embeddings"], true);
    model.tensors["lm_head.weight"] = other_output(model);
    const Result result(model, model.store == "BF16" ? "bf16" : "f32");
    EXPECT_THAT(result.lines,
                ElementsAre("tie_word_embeddings: true, but lm_head.weight is not the embedding: it "
                            "is kept"))
        << name;
    const auto kept = result.gguf->tensor("output.weight").data;
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(kept.data()), kept.size()),
              model.tensors["lm_head.weight"].bytes)
        << name;
  }
  const Result untied(with("llama2", "tie_word_embeddings", false));
  EXPECT_THAT(untied.lines, IsEmpty());
  EXPECT_TRUE(untied.has("output.weight"));
}

TEST(ConvertTrusts, ACopyOfTheEmbeddingIsLeftOut) {
  HfModel model = model_named("smollm");
  model.tensors["lm_head.weight"] = model.tensors["model.embed_tokens.weight"];
  const Result result(model);
  EXPECT_THAT(result.lines, IsEmpty());
  EXPECT_FALSE(result.has("output.weight"));
}

TEST(ConvertTrusts, WithoutAnOutputTheEmbeddingDoesItsWork) {
  const Result result(with("smollm", "tie_word_embeddings", false));
  EXPECT_THAT(result.lines,
              ElementsAre("tie_word_embeddings: false, but the weights have no lm_head.weight: the "
                          "embedding is the output"));
  EXPECT_FALSE(result.has("output.weight"));
}

TEST(ConvertTrusts, RowsOfTheEmbeddingAreTheVocabulary) {
  for (const int64_t wrong : {4000, 5000, 2000000000}) {
    const Result result(with("llama2", "vocab_size", wrong));
    EXPECT_THAT(result.lines, ElementsAre(fmt::format(
                                  "vocab_size: {}, but the embedding has 4096 rows: these count", wrong)));
    EXPECT_EQ(result.gguf->get_int("llama.vocab_size"), 4096);
    EXPECT_EQ(result.gguf->get_strings("tokenizer.ggml.tokens")->size(), 4096u);
  }
}

TEST(ConvertTrusts, BiasesThatAreThere) {
  const Result none(with("llama2", "attention_bias", true));
  EXPECT_THAT(none.lines,
              ElementsAre("attention_bias: true, but the weights have none: the model is converted "
                          "without"));
  const Result some(with("qwen2", "attention_bias", false));
  EXPECT_THAT(some.lines, ElementsAre("attention_bias: false, but the weights have some: they are kept"));
  EXPECT_TRUE(some.has("blk.0.attn_q.bias"));
  EXPECT_THAT(Result(with("llama2", "mlp_bias", false)).lines, IsEmpty());
}

// Of convolutions the classes have one by default.
TEST(ConvertTrusts, BiasesOfConvolutions) {
  for (const auto& [family, key] : {std::pair("mamba2", "use_conv_bias"),
                                    {"nemotron_h", "use_conv_bias"},
                                    {"falcon-h1", "mamba_conv_bias"},
                                    {"granitehybrid", "mamba_conv_bias"}}) {
    HfModel model = family_model(*find_architecture(family));
    EXPECT_THAT(Result(model).lines, testing::Not(testing::Contains(HasSubstr(key)))) << family;
    model.config[key] = false;
    EXPECT_THAT(Result(model).lines,
                testing::Contains(std::string(key) + ": false, but the weights have some: they are kept"))
        << family;
    std::erase_if(model.tensors, [](const auto& entry) { return entry.first.ends_with("conv1d.bias"); });
    EXPECT_FALSE(Result(model).has("blk.0.ssm_conv1d.bias")) << family;
    model.config[key] = true;
    EXPECT_THAT(Converted(model).error(), HasSubstr(std::string(key) + ": true, but tensor '")) << family;
    model.config.erase(key);
    EXPECT_THAT(Converted(model).error(), HasSubstr("conv1d.bias' is missing in the weights")) << family;
  }
}

TEST(ConvertSays, WindowsThatGgufCannotHold) {
  const auto lines = [](const std::string& name, int64_t window, std::optional<bool> use = {}) {
    HfModel model = with(name, "sliding_window", window);
    if (use) model.config["use_sliding_window"] = *use;
    return Result(model).lines;
  };
  EXPECT_THAT(lines("mistral", 64),
              ElementsAre(StartsWith("sliding_window: 64 is not kept, GGUF's llama has none")));
  EXPECT_THAT(lines("mistral", 512), IsEmpty());  // no text is longer
  EXPECT_THAT(lines("llama2", 64), IsEmpty());    // the class does not ask for it
  EXPECT_THAT(lines("qwen2", 64), IsEmpty());
  EXPECT_THAT(lines("qwen2", 64, false), IsEmpty());
  EXPECT_THAT(lines("qwen3", 64, true),
              ElementsAre(StartsWith("sliding_window: 64 is not kept, GGUF's qwen3")));
  EXPECT_THAT(lines("gemma2", 64), IsEmpty());
  EXPECT_THAT(lines("phi3", 64), IsEmpty());
}

// As transformers 4 wrote it, as 5 does, and both at once.
TEST(ConvertTrusts, RotaryNumbersWhereverTheyStand) {
  const HfModel old = model_named("gemma3");
  HfModel both = old;
  both.config["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 8}, {"rope_theta", 1000000}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 10000}}}};
  HfModel newer = both, by_default = old;
  for (const char* key : {"rope_theta", "rope_local_base_freq", "rope_scaling"}) newer.config.erase(key);
  for (const char* key : {"rope_theta", "rope_local_base_freq"}) by_default.config.erase(key);
  const Result first(old);
  const std::string expected = first.folder.read("out.gguf");
  for (const HfModel& model : {both, newer, by_default}) {
    const Result result(model);
    EXPECT_THAT(result.lines, IsEmpty());
    EXPECT_EQ(result.folder.read("out.gguf"), expected);
  }
  newer.config["rope_parameters"]["full_attention"]["rope_theta"] = 2000000;  // not the class's
  EXPECT_EQ(Result(newer).gguf->get_float("gemma3.rope.freq_base"), 2e6);
  EXPECT_EQ(first.gguf->get_float("gemma3.rope.freq_base_swa"), 1e4);
}

TEST(ConvertSays, WhichIdsOfConfigAreNoTokens) {
  for (const int64_t id : {int64_t{4096}, int64_t{-2}, int64_t{1} << 40}) {
    const Result result(with("llama2", "eos_token_id", id));
    EXPECT_THAT(result.lines,
                ElementsAre(fmt::format(
                    "eos_token: id {} is none of the 4096 tokens, {} is taken in its place", id,
                    *Result(model_named("llama2")).gguf->get_int("tokenizer.ggml.eos_token_id"))));
  }
}

TEST(ConvertSays, AQuantizationWithoutAName) {
  for (const auto& value : {nlohmann::ordered_json::object(), nlohmann::ordered_json("x")}) {
    const Result result(with("llama2", "quantization_config", value));
    EXPECT_THAT(result.lines, ElementsAre(StartsWith("quantization_config: names no quant_method; ")));
    EXPECT_TRUE(result.has("blk.0.attn_q.weight"));
  }
}

TEST(ConvertSays, WhatElseIsNotKept) {
  EXPECT_THAT(Result(with("llama2", "rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}})).lines,
              ElementsAre(HasSubstr("dynamic scaling cannot be written")));
  EXPECT_THAT(Result(with("llama2", "pad_token_id", 4096)).lines,
              ElementsAre("pad_token: id 4096 is none of the 4096 tokens, it is left out"));
  HfModel sees = model_named("llama2");
  sees.tensors["vision_tower.patch.weight"] = sees.tensors["model.norm.weight"];
  EXPECT_THAT(Result(sees).lines,
              ElementsAre("1 tensors of what sees are left out: vision_tower.patch.weight"));
}

// YaRN's two scales of the attention cancel each other; programs multiply by 0.1 ln(factor) + 1 unasked.
TEST(ConvertTrusts, ScalesOfYarn) {
  HfModel model = model_named("llama-yarn");
  EXPECT_EQ(Result(model).gguf->get_float("llama.rope.scaling.attn_factor"), std::nullopt);
  model.config["rope_scaling"]["mscale"] = model.config["rope_scaling"]["mscale_all_dim"] = 1.0;
  const auto factor = Result(model).gguf->get_float("llama.rope.scaling.attn_factor");
  EXPECT_NEAR(factor.value_or(0), 1 / (0.1 * std::log(4.0) + 1), 1e-6);
}

TEST(ConvertSays, RowsThatABlockDoesNotDivide) {
  HfModel model = with("llama2", "intermediate_size", 150);
  for (const std::string layer : {"0", "1"}) {
    for (const std::string part : {"gate", "up", "down"}) {
      HfStored& stored = model.tensors["model.layers." + layer + ".mlp." + part + "_proj.weight"];
      stored.shape[part == "down"] = 150;
      stored.bytes.resize(150 * 128 * sizeof(float));
    }
  }
  const Result result(model, "q8_0");
  EXPECT_THAT(result.lines, ElementsAre("2 tensors are F16, since 32 does not divide their rows: "
                                        "blk.0.ffn_down.weight and blk.1.ffn_down.weight"));
  EXPECT_EQ(result.gguf->tensor("blk.0.ffn_down.weight").type, Type::F16);
  EXPECT_EQ(result.gguf->tensor("blk.0.ffn_up.weight").type, Type::Q8_0);
}

}  // namespace convert_trust_test
}  // namespace lora
