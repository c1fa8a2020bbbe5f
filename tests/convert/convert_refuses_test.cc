// What conversion refuses, in which words, and that nothing is left behind then.
#include <cstring>

#include "arch/config.h"
#include "base/error.h"
#include "convert/hf_config.h"
#include "converted.h"
#include "gguf/safetensors.h"
#include "gguf/test_pytorch.h"

namespace lora {
namespace convert_refuses_test {

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
  EXPECT_THAT(Broken("llama2").config_error("num_hidden_layers", 1),
              AllOf(HasSubstr("tensor 'model.layers.1.input_layernorm.weight' and 8 more: a layer too many"),
                    HasSubstr("num_hidden_layers is 1 in")));
  EXPECT_THAT(Broken("llama2").config_error("num_hidden_layers", 2000000000),
              HasSubstr("2000000000 layers make no sense"));
  EXPECT_THAT(Broken("llama2").config_error("num_attention_heads", -1),
              HasSubstr("num_attention_heads: -1 makes"));
  EXPECT_THAT(Broken("llama2").config_error("hidden_size", "x"),
              HasSubstr("hidden_size: \"x\" makes no sense"));
  EXPECT_THAT(Broken("llama2").config_error("num_key_value_heads", 3), HasSubstr("not divided by 3"));
  EXPECT_THAT(Broken("phi3").config_error("num_attention_heads", 2),
              HasSubstr("long_factor: 16 numbers for 32"));
  EXPECT_THAT(Broken("llama2").config_error("architectures", {"StrangeForCausalLM"}),
              AllOf(HasSubstr("'StrangeForCausalLM' is not supported"),
                    HasSubstr("(lora convert --help lists those that are)")));
  for (const auto& [key, value, what] :
       {std::tuple("num_local_experts", nlohmann::json(8), "mixtures of experts"),
        {"state_size", 16, "state-space layers (Mamba)"},
        {"kv_lora_rank", 512, "latent attention"},
        {"is_encoder_decoder", true, "an encoder beside its decoder"}}) {
    const Broken foreign("llama2");
    auto config = nlohmann::json::parse(foreign.folder.read("hf/config.json"));
    config["architectures"] = {"StrangeForCausalLM"};
    config[key] = value;
    foreign.folder.write("hf/config.json", config.dump());
    EXPECT_THAT(foreign.error(), HasSubstr(std::string("is not supported: it has ") + what));
  }
  EXPECT_THAT(Broken("llama2").config_error("architectures", {"LlamaForSequenceClassification"}),
              HasSubstr("it has another output than the next token"));
  EXPECT_THAT(Broken("llama2").config_error("rope_scaling", {{"type", "magic"}}),
              HasSubstr("'magic' is not supported"));
  EXPECT_THAT(Broken("llama2").config_error("quantization_config", {{"quant_method", "gptq"}}),
              HasSubstr("quantized by GPTQ"));
  const Broken nested("llama2");
  nested.folder.write("hf/config.json", std::string(100000, '['));
  EXPECT_THAT(nested.error(), HasSubstr("config.json: nests deeper"));
}

// Of families that are known by name the line says what of them is not computed.
TEST(ConvertRefuses, FamiliesThatAreNotComputed) {
  EXPECT_THAT(Broken("llama2").config_error("architectures", {"Gemma3nForConditionalGeneration"}),
              HasSubstr("'Gemma3nForConditionalGeneration' is not supported: parallel residual streams "
                        "(AltUp) are not computed"));
  EXPECT_THAT(Broken("llama2").config_error("architectures", {"JambaForCausalLM"}),
              HasSubstr("layers of Mamba-1 are not computed"));
  GgufWriter writer;
  writer.set_string("general.architecture", "gemma3n");
  const Folder folder;
  GgufOutput(writer, folder.at("m.gguf")).commit();
  EXPECT_THAT(error_of([&] { read_config(Gguf::open(folder.at("m.gguf"))); }),
              HasSubstr("architecture 'gemma3n' is not supported: parallel residual streams"));
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

// Transformers 4 and 5 would each run another model.
TEST(ConvertRefuses, RotaryNumbersThatContradictEachOther) {
  const auto error = [](const char* name, const nlohmann::ordered_json& keys) {
    const Broken broken(name);
    broken.config([&](auto& json) { json.update(keys); });
    return broken.error();
  };
  using Json = nlohmann::ordered_json;
  const Json linear = {{"rope_type", "linear"}, {"factor", 2.0}};
  EXPECT_THAT(error("llama2", {{"rope_theta", 1e4}, {"rope_parameters", {{"rope_theta", 5e5}}}}),
              AllOf(HasSubstr("rope_theta: 10000, but rope_parameters.rope_theta is 500000"),
                    HasSubstr("remove the wrong one")));
  EXPECT_THAT(
      error("llama2", {{"rope_scaling", linear}, {"rope_parameters", {{"rope_type", "default"}}}}),
      AllOf(HasSubstr(R"(rope_scaling: {"factor":2.0,"rope_type":"linear"}, but rope_parameters is )"),
            HasSubstr(R"({"rope_type":"default"}: nothing tells which)")));
  Json other = linear;
  other["factor"] = 4.0;
  EXPECT_THAT(error("llama2", {{"rope_scaling", linear}, {"rope_parameters", other}}),
              HasSubstr("but rope_parameters is"));
  EXPECT_THAT(error("phi3", {{"original_max_position_embeddings", 128},
                             {"rope_parameters", {{"original_max_position_embeddings", 256}}}}),
              HasSubstr("original_max_position_embeddings: 128, but rope_parameters.original_max_position"));
  const Json local = {{"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}}},
                      {"sliding_attention", {{"rope_theta", 2e4}}}};
  EXPECT_THAT(
      error("gemma3", {{"rope_parameters", local}}),
      HasSubstr("rope_local_base_freq: 10000, but rope_parameters.sliding_attention.rope_theta is 2"));
  EXPECT_THAT(error("llama2", {{"rope_parameters", local}, {"rope_scaling", nullptr}}),
              HasSubstr("rope_local_base_freq: 20000: GGUF's llama has one base for all layers"));
  EXPECT_THAT(
      error("gemma3", {{"rope_parameters", {{"full_attention", linear}, {"sliding_attention", linear}}}}),
      HasSubstr("rope_parameters.sliding_attention: type 'linear' is not supported"));
}

// Of each architecture that is known, an added one too.
TEST(ConvertRefuses, AnotherActivationOfWhateverClass) {
  for (const Architecture* row : architectures()) {
    if (!row->hf) continue;
    const HfComputed& computed = row->hf->computed;
    for (const HfClass& hf_class : row->hf->classes) {
      if (!hf_class.why_not.empty()) continue;
      nlohmann::json config = {{"architectures", {hf_class.name}}, {computed.activation_key, "relu"}};
      const HfSizes& sizes = row->hf->sizes;
      for (const char* key :
           {sizes.n_layer, sizes.n_embd, sizes.n_ff, "vocab_size", sizes.n_head, sizes.n_ctx, "kv_lora_rank",
            "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"})
        config[key] = 8;
      config["head_dim"] = config["vocab_size_per_layer_input"] = config["mamba_n_heads"] = 8;
      config["num_key_value_heads"] = 8;
      config["num_heads"] = 2;  // Mamba-2's, of 8 columns
      config["n_groups"] = 1;
      if (hf_class.has_experts) {
        config["num_experts"] = config["num_experts_per_tok"] = 8;
        config["norm_topk_prob"] = row->hf->refused.empty();  // as each wants it
      }
      config["model_type"] = hf_class.model_type;
      try {
        parse_hf_config(config.dump(), "config.json");
        ADD_FAILURE() << hf_class.name;
      } catch (const Error& e) {
        EXPECT_THAT(e.what(),
                    HasSubstr(fmt::format("relu: GGUF's {} computes {}", row->name, computed.activation)));
      }
    }
  }
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

// The model with its weights in this type.
HfModel in_dtype(HfModel model, const std::string& dtype) {
  const TypeTraits& type = *find_type(dtype);
  for (auto& [name, stored] : model.tensors) {
    stored.dtype = dtype;
    stored.bytes.resize(stored.values.size() * size_t(type.block_bytes));
    type.encode(reinterpret_cast<std::byte*>(stored.bytes.data()), stored.values.data(),
                int64_t(stored.values.size()), nullptr);
  }
  return model;
}

TEST(ConvertRefuses, ValuesThatAreNotFinite) {
  const auto expect_refused = [](const char* dtype, std::string_view value, const char* tensor) {
    HfModel model = in_dtype(model_named("llama2"), dtype);
    model.tensors.at(tensor).bytes.replace(8 * value.size(), value.size(), value);
    const Broken broken(model);
    for (const char* type : {"f32", "f16", "bf16", "q8_0", "auto"}) {
      EXPECT_THAT(broken.error(type), AllOf(HasSubstr(tensor), HasSubstr("not finite")))
          << dtype << ' ' << type;
    }
    ConvertOptions parts = broken.options("f32");
    parts.split_max_bytes = 1 << 20;
    EXPECT_THAT(error_of([&] { broken.convert(parts); }), HasSubstr("not finite"));
    EXPECT_THAT(broken.folder.names(), testing::ElementsAre("hf"));
  };
  for (const char* tensor :
       {"model.layers.1.mlp.up_proj.weight", "model.layers.1.self_attn.q_proj.weight", "model.norm.weight"}) {
    expect_refused("F32", std::string_view("\x00\x00\xc0\x7f", 4), tensor);  // NaN
    expect_refused("F32", std::string_view("\x00\x00\x80\xff", 4), tensor);  // -infinity
    expect_refused("F16", std::string_view("\x00\x7e", 2), tensor);
    expect_refused("BF16", std::string_view("\x80\x7f", 2), tensor);
  }
}

TEST(ConvertRefuses, QuantizedWeightsByTheirMethod) {
  const auto error = [](const std::vector<std::pair<const char*, const char*>>& endings) {
    HfModel model = model_named("llama2");
    const std::string module = "model.layers.0.mlp.up_proj";
    model.tensors.erase(module + ".weight");
    for (const auto& [ending, dtype] : endings) {
      model.tensors[module + ending] = {dtype, {2, 4}, std::string(size_t(8 * dtype_bytes(dtype)), '\1'), {}};
    }
    return Broken(model).error();
  };
  EXPECT_THAT(error({{".qweight", "I32"}, {".qzeros", "I32"}, {".scales", "F16"}, {".g_idx", "I32"}}),
              AllOf(HasSubstr("quantized by GPTQ"), HasSubstr("as it was before")));
  EXPECT_THAT(error({{".qweight", "I32"}, {".qzeros", "I32"}, {".scales", "F16"}}),
              HasSubstr("quantized by AWQ"));
  EXPECT_THAT(error({{".weight", "U8"}, {".weight.absmax", "F32"}, {".weight.quant_map", "F32"}}),
              HasSubstr("quantized by bitsandbytes (4 bits)"));
  EXPECT_THAT(error({{".weight", "I8"}, {".SCB", "F32"}}), HasSubstr("quantized by bitsandbytes (8 bits)"));
  EXPECT_THAT(error({{".weight_packed", "I32"}, {".weight_scale", "BF16"}}),
              HasSubstr("quantized by compressed-tensors"));
  EXPECT_THAT(error({{".weight", "U32"}, {".scales", "BF16"}, {".biases", "BF16"}}),
              HasSubstr("quantized by MLX"));
  EXPECT_THAT(error({{".W_q", "U8"}}), HasSubstr("quantized by HQQ"));
  for (const char* part : {".weight:_data", ".weight:tensor_data", ".weight:qdata", "._weight_qdata"})
    EXPECT_THAT(error({{part, "I8"}}), HasSubstr("quantized by torchao"));
  EXPECT_THAT(error({{".weight", "I8"}}), HasSubstr("a method that is not known (I8)"));
  EXPECT_THAT(Broken("llama2").config_error("quantization", {{"group_size", 64}, {"bits", 4}}),
              HasSubstr("quantized by MLX"));
  EXPECT_THAT(Broken("llama2").config_error("quantization_config", {{"quant_method", "new"}}),
              HasSubstr("quantized by new"));
  EXPECT_THAT(Broken("llama2").config_error("quantization_config", {{"load_in_4bit", true}}),
              HasSubstr("quantized by bitsandbytes"));
}

TEST(ConvertRefuses, FilesThatAreNoWeights) {
  const auto error = [](const char* file, std::string_view content) {
    const Broken broken("llama2");
    broken.folder.write(std::string("hf/") + file, content);
    return broken.error();
  };
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
  EXPECT_THAT(error("model.safetensors", pointer),
              HasSubstr("model.safetensors: not a safetensors file: it is a git-lfs"));
  EXPECT_THAT(error("model.safetensors", "<html>"), HasSubstr("web page"));
  EXPECT_THAT(error("model.safetensors", "GGUF\3\0\0\0"), HasSubstr("it is a GGUF file"));
  EXPECT_THAT(error("tokenizer.model", pointer), HasSubstr("git-lfs"));
  EXPECT_THAT(error("config.json", pointer), HasSubstr("config.json: not JSON: it is a git-lfs"));
  EXPECT_THAT(error("config.json", "<!DOCTYPE html>"), HasSubstr("web page"));
}

TEST(ConvertRefuses, WhatPeftTrainedAmongTheWeights) {
  for (const auto& [name, what] :
       {std::pair("model.layers.0.mlp.up_proj.lora_A.default.weight", "a LoRA among the weights"),
        {"lm_head.modules_to_save.default.weight", "a module that PEFT has a copy of"},
        {"base_model.model.lm_head.original_module.weight", "a module that PEFT has a copy of"}}) {
    HfModel model = model_named("llama2");
    model.tensors[name] = {"F32", {1, 4}, std::string(16, '\0'), {}};
    EXPECT_THAT(Broken(model).error(),
                AllOf(HasSubstr(std::string(name) + "': " + what), HasSubstr("merge_and_unload")));
  }
}

TEST(ConvertRefuses, VocabularySizesThatNothingConfirms) {
  for (const int64_t n : {20000000, 2147483647}) {
    const Broken broken("llama2");
    broken.config([&](auto& json) { json["vocab_size"] = n; });
    ConvertOptions o = broken.options();
    o.vocab_only = true;
    EXPECT_THAT(error_of([&] { broken.convert(o); }),
                HasSubstr(fmt::format("vocab_size: {}, but the tokenizer has 4096", n)));
  }
  const Broken padded("llama2");
  padded.config([&](auto& json) { json["vocab_size"] = 4160; });
  ConvertOptions o = padded.options();
  o.vocab_only = true;
  EXPECT_EQ(padded.convert(o).get_strings("tokenizer.ggml.tokens")->size(), 4160u);
}

TEST(ConvertRefuses, HeadsThatAreNoHeads) {
  EXPECT_THAT(Broken("llama3").config_error("head_dim", 2000000000),
              HasSubstr("head_dim: 2000000000 makes no sense"));
}

TEST(Convert, TakesWeightsUnderTheNamesThatPeftGivesThem) {
  HfModel model = model_named("smollm");
  const Broken plain(model);
  const std::string expected = (plain.convert(), plain.folder.read("out.gguf"));
  HfModel wrapped = model;
  wrapped.tensors.clear();
  for (const auto& [name, stored] : model.tensors) {
    std::string new_name = "base_model.model." + name;
    if (const size_t at = new_name.find("q_proj."); at != new_name.npos)
      new_name.insert(at + 7, "base_layer.");
    wrapped.tensors[new_name] = stored;
  }
  const Broken saved(wrapped);
  std::vector<std::string> said;
  ConvertEvents events;
  events.say = [&](std::string_view line) { said.emplace_back(line); };
  lora::convert(saved.options(), events);
  EXPECT_EQ(saved.folder.read("out.gguf"), expected);
  EXPECT_THAT(said, testing::Contains(HasSubstr("names that PEFT gives them")));
}

TEST(Convert, LeavesOutWhatMacosLeavesBehind) {
  const Broken broken("llama2");
  fs::rename(broken.hf("model.safetensors"), broken.hf("weights.safetensors"));
  broken.folder.write("hf/._weights.safetensors", std::string_view("\x00\x05\x16\x07\x00\x02\x00\x00", 8));
  std::vector<std::string> said;
  ConvertEvents events;
  events.say = [&](std::string_view line) { said.emplace_back(line); };
  lora::convert(broken.options(), events);
  EXPECT_THAT(said, testing::Contains(HasSubstr("._weights.safetensors: a ._ file of macOS")));
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

}  // namespace convert_refuses_test
}  // namespace lora
