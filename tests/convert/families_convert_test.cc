// Each family's folder to GGUF: against what llama.cpp's converter makes of it (shared/golden/families), and
// small folders of our own for what conversion does to tensors.
#include <algorithm>
#include <cmath>

#include "arch/hf.h"
#include "base/error.h"
#include "base/file.h"
#include "convert/source.h"
#include "converted.h"
#include "family_models.h"
#include "model/model.h"

namespace lora {
namespace families_convert_test {

using namespace test;
using testing::HasSubstr;

// Keys of the metadata that may differ from llama.cpp's: of every family, or of the one named.
struct MayDiffer {
  const char *family, *key, *why;
};
constexpr MayDiffer kMayDiffer[] = {
    {"", "general.name", "of the folder"},
    {"", ".vocab_size", "written always; llama.cpp does for some families, and counts tokens"},
    {"gemma", ".rope.freq_base", "written always; this is what programs take without it"},
    {"gemma2", ".rope.freq_base", "the same"},
    {"cohere2", ".rope.scaling.type", "none is what programs take without it"},
    {"command-r", ".rope.scaling.type", "the same"},
};

bool may_differ(const std::string& folder, const std::string& key) {
  return key.starts_with("tokenizer.") ||  // tests of tokenizers look at those
         std::ranges::any_of(kMayDiffer, [&](const MayDiffer& row) {
           return (folder == row.family || !*row.family) && key.ends_with(row.key);
         });
}

constexpr const char* kFolders[] = {
    "cohere2",   "command-r", "deepseek2",     "exaone4",    "gemma",   "gemma2",
    "gemma3",    "gemma4",    "gemma4-moe",    "glm4",       "glm4moe", "gpt-oss",
    "falcon-h1", "granite",   "granitehybrid", "granitemoe", "lfm2",    "lfm2moe",
    "llama3",    "mistral3",  "mixtral",       "olmo2",      "olmo3",   "olmoe",
    "phi3",      "phi4-mini", "qwen2",         "qwen2moe",   "qwen3",   "qwen35",
    "qwen35moe", "qwen3moe",  "qwen3next",     "seed-oss",   "smollm3", "starcoder2"};

class GoldenFamily : public testing::TestWithParam<const char*> {};

TEST_P(GoldenFamily, IsConvertedAsLlamaCppDoes) {
  const std::string name = GetParam(), base = LORA_SHARED_DIR "/golden/families/" + name;
  if (!file_exists(base)) GTEST_SKIP() << base << " is not here";
  const Folder folder;
  ConvertOptions options;
  options.folder = base + "/hf";
  options.outfile = folder.at("out.gguf");
  options.outtype = "f32";
  convert(options, {});
  const Gguf ours = Gguf::open(options.outfile), theirs = Gguf::open(base + "/model.gguf");
  EXPECT_EQ(ours.tensors().size(), theirs.tensors().size());
  for (const GgufTensor& tensor : theirs.tensors()) {
    const GgufTensor* found = ours.find_tensor(tensor.name);
    ASSERT_TRUE(found) << tensor.name;
    EXPECT_EQ(found->type, tensor.type) << tensor.name;
    EXPECT_EQ(found->shape(), tensor.shape()) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(found->data, tensor.data)) << tensor.name;
  }
  for (const Gguf* file : {&ours, &theirs}) {
    const Gguf& other = file == &ours ? theirs : ours;
    for (const auto& [key, value] : file->values()) {
      if (may_differ(name, key)) continue;
      ASSERT_TRUE(other.find(key)) << key << (file == &ours ? " is not theirs" : " is missing");
      EXPECT_EQ(other.find(key)->value, value.value) << key;
    }
  }
}

std::string folder_name(const testing::TestParamInfo<const char*>& folder) {
  std::string name = folder.param;
  std::ranges::replace(name, '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Hf, GoldenFamily, testing::ValuesIn(kFolders), folder_name);

class EveryFamily : public testing::TestWithParam<const Architecture*> {};

// All that the table names is taken, and what comes out is a model.
TEST_P(EveryFamily, IsConvertedAndLoads) {
  const HfModel model = family_model(*GetParam());
  const Converted converted(model);
  const Gguf gguf = converted.convert();
  EXPECT_EQ(gguf.get_string("general.architecture"), std::string(GetParam()->name));
  int64_t n_from = 0, n_to = 0;
  for (const auto& [name, stored] : model.tensors) n_from += int64_t(stored.values.size());
  for (const GgufTensor& tensor : gguf.tensors()) {
    if (tensor.name != "rope_freqs.weight") n_to += tensor.n_elements();  // which is computed
  }
  EXPECT_EQ(n_from, n_to);
  const Model loaded = load_model(converted.folder.at("out.gguf"));
  EXPECT_EQ(loaded.config.head_dim, config_of(model).head_dim);
  EXPECT_EQ(loaded.config.n_head_kv, config_of(model).n_head_kv);
  EXPECT_FLOAT_EQ(loaded.config.norm_eps, 1e-5f);
}

TEST_P(EveryFamily, NamesWhatItDoesNotKnow) {
  HfModel model = family_model(*GetParam());
  model.tensors[std::string(GetParam()->hf->prefix) + "surprise.weight"] = model.tensors.begin()->second;
  EXPECT_THAT(Converted(model).error(), HasSubstr("surprise.weight': not known for architecture"));
}

std::string family_name(const testing::TestParamInfo<const Architecture*>& family) {
  std::string name(family.param->name);
  std::ranges::replace(name, '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Hf, EveryFamily, testing::ValuesIn(hf_families()), family_name);

HfModel family_named(std::string_view name) {
  return family_model(*find_architecture(name));
}

// Rows of a matrix.
std::vector<float> row_of(const std::vector<float>& values, int64_t row, int64_t n_cols) {
  return {values.begin() + row * n_cols, values.begin() + (row + 1) * n_cols};
}

constexpr int64_t kHeadDim = 16, kHeads = 4, kHeadsKv = 2, kWidth = 64;

// InternLM 2 packs, for each head of k and v, its heads of q, then k, then v; Falcon as well, and GGUF has
// Falcon's as q, k, v below one another. InternLM 2's q and k are turned by neighbours in GGUF.
TEST(FamilyTensors, PackedHeads) {
  for (const auto& [name, hf] :
       {std::pair("internlm2", "model.layers.1.attention.wqkv.weight"),
        std::pair("falcon", "transformer.h.1.self_attention.query_key_value.weight")}) {
    const HfModel model = family_named(name);
    const Gguf gguf = Converted(model).convert();
    const std::vector<float>& packed = model.tensors.at(hf).values;
    const bool is_fused = gguf.find_tensor("blk.1.attn_qkv.weight");
    const auto found = [&](char part, int64_t head, int64_t j) {
      const int64_t first = part == 'q' ? 0 : part == 'k' ? kHeads : kHeads + kHeadsKv;
      const std::string tensor =
          is_fused ? "blk.1.attn_qkv.weight" : fmt::format("blk.1.attn_{}.weight", part);
      return row_of(values_of(gguf.tensor(tensor)), ((is_fused ? first : 0) + head) * kHeadDim + j, kWidth);
    };
    constexpr int64_t n_group = kHeads / kHeadsKv;
    for (int64_t group = 0; group < kHeadsKv; ++group) {
      for (int64_t i = 0; i < n_group + 2; ++i) {
        for (int64_t j = 0; j < kHeadDim; ++j) {
          const char part = i < n_group ? 'q' : i == n_group ? 'k' : 'v';
          const int64_t head = part == 'q' ? group * n_group + i : group;
          const int64_t half = kHeadDim / 2;
          const int64_t to = is_fused || part == 'v' ? j : j % half * 2 + j / half;
          ASSERT_EQ(found(part, head, to), row_of(packed, (group * (n_group + 2) + i) * kHeadDim + j, kWidth))
              << name << " " << part << " head " << head << " row " << j;
        }
      }
    }
  }
}

// Of each head 12 rows of keys, which are turned, and 10 of values; of FP8, whose blocks begin elsewhere than
// heads, too.
TEST(FamilyTensors, KeysAndValuesOfLatents) {
  constexpr int64_t kKeys = 12, kValues = 10, kRank = 24, kRows = kHeads * (kKeys + kValues);
  for (const bool is_fp8 : {false, true}) {
    HfModel model = family_named("deepseek2");
    const std::string name = "model.layers.1.self_attn.kv_b_proj.weight";
    std::vector<float> want = model.tensors.at(name).values;
    if (is_fp8) {
      constexpr int64_t kBlock[] = {16, 8};
      model.config["quantization_config"] = {{"quant_method", "fp8"}, {"weight_block_size", {16, 8}}};
      HfStored scales{"F32", {(kRows + 15) / 16, kRank / 8}, {}, {}};
      for (int64_t i = 0; i < scales.shape[0] * scales.shape[1]; ++i)
        scales.values.push_back(float(i + 1) / 4);
      scales.bytes.assign(reinterpret_cast<const char*>(scales.values.data()),
                          scales.values.size() * sizeof(float));
      HfStored weight{"F8_E4M3", {kRows, kRank}, {}, {}};
      for (int64_t i = 0; i < kRows * kRank; ++i) {
        const auto bits = uint8_t(i * 7 % 120);
        weight.bytes += char(bits);
        const int64_t block = i / kRank / kBlock[0] * (kRank / kBlock[1]) + i % kRank / kBlock[1];
        want[size_t(i)] = fp8_e4m3(bits) * scales.values[size_t(block)];
      }
      model.tensors.at(name) = std::move(weight);
      model.tensors[name + "_scale_inv"] = std::move(scales);
    }
    const Gguf gguf = Converted(model).convert();
    const GgufTensor &k = gguf.tensor("blk.1.attn_k_b.weight"), &v = gguf.tensor("blk.1.attn_v_b.weight");
    EXPECT_EQ(k.shape(), "12 x 24 x 4");
    EXPECT_EQ(v.shape(), "24 x 10 x 4");
    const std::vector<float> keys = values_of(k), values = values_of(v);
    for (int64_t row = 0; row < kRows; ++row) {
      const int64_t head = row / (kKeys + kValues), i = row % (kKeys + kValues);
      for (int64_t c = 0; c < kRank; ++c) {
        const float found = i < kKeys ? keys[size_t((head * kRank + c) * kKeys + i)]
                                      : values[size_t((head * kValues + i - kKeys) * kRank + c)];
        ASSERT_EQ(found, want[size_t(row * kRank + c)]) << row << ", " << c << (is_fp8 ? " FP8" : "");
      }
    }
  }
}

// Classes that have no low-rank queries, and what GGUF cannot say.
TEST(FamilyTensors, QueriesAtOnceAndScalesOfLatents) {
  HfModel model = family_named("deepseek2");
  model.config["q_lora_rank"] = nullptr;
  for (const std::string layer : {"model.layers.0.self_attn.", "model.layers.1.self_attn."}) {
    model.tensors[layer + "q_proj.weight"] = model.tensors.at("model.embed_tokens.weight");
    HfStored& q = model.tensors.at(layer + "q_proj.weight");
    q.shape = {kHeads * kHeadDim, kWidth};
    q.values.resize(size_t(kHeads * kHeadDim * kWidth));
    q.bytes.assign(reinterpret_cast<const char*>(q.values.data()), q.values.size() * sizeof(float));
    for (const char* part : {"q_a_proj", "q_a_layernorm", "q_b_proj"})
      model.tensors.erase(layer + part + ".weight");
  }
  const Gguf gguf = Converted(model).convert();
  EXPECT_EQ(gguf.tensor("blk.0.attn_q.weight").shape(), "64 x 64");
  EXPECT_FALSE(gguf.find("deepseek2.attention.q_lora_rank"));
  model.config["rope_scaling"] = {{"type", "yarn"},
                                  {"factor", 4},
                                  {"mscale", 0.707},
                                  {"mscale_all_dim", 0.707},
                                  {"original_max_position_embeddings", 64}};
  const Gguf scaled = Converted(model).convert();
  EXPECT_NEAR(*scaled.get_float("deepseek2.rope.scaling.yarn_log_multiplier"), 0.0707, 1e-7);
  EXPECT_FALSE(scaled.find("deepseek2.rope.scaling.attn_factor"));
  model.config["rope_scaling"]["mscale"] = 1.0;
  EXPECT_THAT(Converted(model).error(),
              HasSubstr("mscale 1 and mscale_all_dim 0.707: GGUF's deepseek2 has one number for both"));
}

TEST(FamilyTensors, PackedBelowOneAnother) {
  HfModel model = family_named("baichuan");
  const Gguf gguf = Converted(model).convert();
  const std::vector<float>& packed = model.tensors.at("model.layers.0.self_attn.W_pack.weight").values;
  const std::vector<float> k = values_of(gguf.tensor("blk.0.attn_k.weight"));
  const std::vector<float> v = values_of(gguf.tensor("blk.0.attn_v.weight"));
  EXPECT_EQ(row_of(k, 1, kWidth), row_of(packed, kHeads * kHeadDim + kHeadDim / 2, kWidth));
  EXPECT_EQ(row_of(v, 5, kWidth), row_of(packed, (kHeads + kHeadsKv) * kHeadDim + 5, kWidth));
}

// Of Qwen 3.5 they are numbered from 0 under a name of their own; Qwen 3 Next's are left out.
TEST(FamilyTensors, BlocksThatPredictFurtherTokens) {
  HfModel model = family_named("qwen35");
  model.config["mtp_num_hidden_layers"] = 1;
  const int64_t n_layer = model.config["num_hidden_layers"];
  std::map<std::string, HfStored> ahead;
  for (const auto& [name, stored] : model.tensors) {
    const std::string before = "model.layers.1.";  // one with attention
    if (name.starts_with(before)) ahead["mtp.layers.0." + name.substr(before.size())] = stored;
  }
  for (const char* norm : {"pre_fc_norm_embedding", "pre_fc_norm_hidden", "norm"})
    ahead[fmt::format("mtp.{}.weight", norm)] = model.tensors.at("model.norm.weight");
  HfStored& fc = ahead["mtp.fc.weight"] = model.tensors.at("lm_head.weight");
  fc.shape = {64, 128};
  fc.bytes.resize(64 * 128 * sizeof(float));
  fc.values.resize(64 * 128);
  HfModel next = family_named("qwen3next");
  const size_t n_tensors = Converted(next).convert().tensors().size();
  next.tensors["mtp.fc.weight"] = fc;
  EXPECT_EQ(Converted(next).convert().tensors().size(), n_tensors);
  model.tensors.merge(ahead);
  const Converted converted(model);
  const Gguf gguf = converted.convert();
  EXPECT_EQ(gguf.get_int("qwen35.block_count"), n_layer + 1);
  EXPECT_EQ(gguf.get_int("qwen35.nextn_predict_layers"), 1);
  const auto recurrent = gguf.get_ints("qwen35.attention.recurrent_layers").value();
  EXPECT_EQ(int64_t(recurrent.size()), n_layer + 1);
  EXPECT_EQ(recurrent.back(), 0);
  const std::string block = fmt::format("blk.{}.", n_layer);
  EXPECT_EQ(values_of(gguf.tensor(block + "attn_q.weight")),
            model.tensors.at("mtp.layers.0.self_attn.q_proj.weight").values);
  EXPECT_EQ(values_of(gguf.tensor(block + "nextn.eh_proj.weight")), model.tensors.at("mtp.fc.weight").values);
  EXPECT_EQ(values_of(gguf.tensor(block + "nextn.shared_head_norm.weight"))[3],
            model.tensors.at("mtp.norm.weight").values[3] + 1);
  EXPECT_EQ(load_model(converted.folder.at("out.gguf")).config.n_layer, n_layer);
}

// x (1 + w) + b: the bias stays.
TEST(FamilyTensors, NormsThatLackOne) {
  const HfModel model = family_named("nemotron");
  const Gguf gguf = Converted(model).convert();
  for (const auto& [hf, name] : {std::pair("model.layers.1.input_layernorm", "blk.1.attn_norm"),
                                 std::pair("model.norm", "output_norm")}) {
    const std::vector<float>& gain = model.tensors.at(std::string(hf) + ".weight").values;
    const std::vector<float> found = values_of(gguf.tensor(std::string(name) + ".weight"));
    for (size_t i = 0; i < gain.size(); ++i) ASSERT_EQ(found[i], gain[i] + 1);
    EXPECT_EQ(values_of(gguf.tensor(std::string(name) + ".bias")),
              model.tensors.at(std::string(hf) + ".bias").values);
  }
}

TEST(FamilyTensors, BiasOfTheOutput) {
  const HfModel model = family_named("phi2");
  EXPECT_EQ(values_of(Converted(model).convert().tensor("output.bias")),
            model.tensors.at("lm_head.bias").values);
}

// Within models that also see, old and new names; what sees is left out, with a line.
TEST(FamilyTensors, OfTheTextPartOfModelsThatAlsoSee) {
  for (const auto& [family, hf_class, type, prefix, output] :
       {std::tuple("gemma3", "Gemma3ForConditionalGeneration", "gemma3_text", "language_model.model.", ""),
        std::tuple("gemma3", "Gemma3ForConditionalGeneration", "gemma3_text", "model.language_model.", ""),
        std::tuple("mistral3", "Mistral3ForConditionalGeneration", "ministral3", "model.language_model.",
                   "lm_head"),
        std::tuple("llama", "Mistral3ForConditionalGeneration", "mistral", "language_model.model.",
                   "language_model.lm_head"),
        std::tuple("llama", "Idefics3ForConditionalGeneration", "llama", "model.text_model.", "lm_head"),
        std::tuple("qwen2", "LlavaOnevisionForConditionalGeneration", "qwen2", "language_model.model.",
                   "language_model.lm_head"),
        std::tuple("lfm2", "Lfm2VlForConditionalGeneration", "lfm2", "model.language_model.", "lm_head"),
        std::tuple("cohere2", "Cohere2VisionForConditionalGeneration", "cohere2", "model.language_model.",
                   "")}) {
    HfModel model = family_named(family);
    const size_t n_tensors = Converted(model).convert().tensors().size();
    std::map<std::string, HfStored> renamed;
    for (const auto& [name, stored] : model.tensors) {
      if (name == "lm_head.weight") {
        if (*output) renamed[std::string(output) + ".weight"] = stored;
      } else {
        renamed[std::string(prefix) + name.substr(std::string("model.").size())] = stored;
      }
    }
    renamed["model.vision_tower.encoder.layers.0.mlp.fc1.weight"] = model.tensors.begin()->second;
    model.tensors = renamed;
    auto text = model.config;
    text["model_type"] = type;
    // Some name the class of their language model, too.
    if (family != std::string("qwen2")) text.erase("architectures");
    model.config = {
        {"architectures", {hf_class}}, {"text_config", text}, {"vision_config", {{"hidden_size", 8}}}};
    const Converted converted(model);
    std::vector<std::string> lines;
    ConvertEvents events;
    events.say = [&](std::string_view line) { lines.emplace_back(line); };
    const Gguf gguf = Gguf::open(convert(converted.options(), events).files.front());
    EXPECT_EQ(gguf.get_string("general.architecture"), family);
    EXPECT_EQ(gguf.tensors().size(), n_tensors - (family == std::string("gemma3")))
        << "tied where there is none";
    EXPECT_THAT(lines, testing::Contains(HasSubstr("1 tensors of what sees are left out")));
  }
}

TEST(FamilyConfigs, WhatGgufComputesOtherwiseIsRefused) {
  const auto refused = [](const char* family, const char* key, const nlohmann::ordered_json& value) {
    HfModel model = family_named(family);
    model.config["sliding_window"] = 8;
    model.config[key] = value;
    return error_of([&] { config_of(model); });
  };
  EXPECT_THAT(refused("command-r", "use_qk_norm", true), HasSubstr("use_qk_norm: true"));
  EXPECT_THAT(refused("stablelm", "use_parallel_residual", true), HasSubstr("one after the other"));
  EXPECT_THAT(refused("falcon", "alibi", true), HasSubstr("rotates heads"));
  EXPECT_THAT(refused("falcon", "parallel_attn", false), HasSubstr("side by side"));
  EXPECT_THAT(refused("falcon", "num_ln_in_parallel_attn", 2), HasSubstr("Falcon 40B"));
  EXPECT_THAT(refused("baichuan", "num_hidden_layers", 40), HasSubstr("ALiBi"));
  EXPECT_THAT(refused("baichuan", "architectures", {"BaichuanForCausalLM"}),
              HasSubstr("Baichuan 2 norms the rows"));
  EXPECT_THAT(refused("minicpm", "num_experts", 8), HasSubstr("no experts"));
  EXPECT_THAT(refused("ernie4_5", "use_bias", true), HasSubstr("without biases"));
  EXPECT_THAT(refused("starcoder2", "use_bias", false), HasSubstr("use_bias: false"));
  EXPECT_THAT(refused("smollm3", "no_rope_layers", {1, 0}), HasSubstr("no_rope_layers: 0 in layer 1"));
  EXPECT_THAT(refused("exaone4", "sliding_window_pattern", "LG"),
              HasSubstr("has a layer without a window after every 3 with one"));
  EXPECT_THAT(refused("lfm2", "conv_bias", true), HasSubstr("convolutions without biases"));
  EXPECT_THAT(refused("lfm2", "conv_L_cache", 17), HasSubstr("conv_L_cache: 17 taps"));
  for (const nlohmann::ordered_json& value :
       std::initializer_list<nlohmann::ordered_json>{"3", nlohmann::ordered_json::array({3}), 1e300, 3.5}) {
    EXPECT_THAT(refused("lfm2", "conv_L_cache", value), HasSubstr("conv_L_cache: ")) << value;
    EXPECT_THAT(refused("lfm2", "block_multiple_of", value), HasSubstr("block_multiple_of: ")) << value;
    EXPECT_THAT(refused("lfm2", "block_ff_dim", value), HasSubstr("block_ff_dim: ")) << value;
    EXPECT_THAT(refused("granitehybrid", "mamba_n_groups", value), HasSubstr("mamba_n_groups: ")) << value;
  }
  EXPECT_THAT(refused("falcon-h1", "key_multiplier", "4"), HasSubstr("key_multiplier: expected a number"));
  EXPECT_THAT(refused("falcon-h1", "key_multiplier", {2.0}), HasSubstr("key_multiplier: expected a number"));
  EXPECT_THAT(refused("falcon-h1", "mlp_multipliers", 2.0), HasSubstr("mlp_multipliers: expected 2 numbers"));
  EXPECT_THAT(refused("lfm2", "layer_types", {"conv", "linear_attention"}),
              HasSubstr("layer_types: \"linear_attention\""));
  EXPECT_THAT(refused("lfm2", "layer_types", {"conv", "sliding_attention"}),
              HasSubstr("layer_types: \"sliding_attention\": GGUF's lfm2 has no such layers"));
  EXPECT_THAT(refused("lfm2moe", "use_expert_bias", false), HasSubstr("with a bias"));
  EXPECT_THAT(refused("gemma4", "use_bidirectional_attention", true),
              HasSubstr("use_bidirectional_attention: true: GGUF's gemma4 looks back only"));
  EXPECT_THAT(refused("gemma4", "use_bidirectional_attention", "all"), HasSubstr("looks back only"));
  EXPECT_EQ(refused("gemma4", "use_bidirectional_attention", "vision"), "") << "of images alone";
  for (const char* family : {"gemma4", "gpt-oss", "cohere2"}) {
    for (const nlohmann::ordered_json& value : std::initializer_list<nlohmann::ordered_json>{nullptr, 0})
      EXPECT_THAT(refused(family, "sliding_window", value), HasSubstr("sliding_window: ")) << family << value;
  }
  EXPECT_THAT(refused("deepseek2", "routed_scaling_factor", nullptr),
              HasSubstr("routed_scaling_factor: null makes no sense"));
  for (const char* type : {"linear", "yarn", "llama3"}) {
    EXPECT_THAT(refused("llama", "rope_scaling", {{"rope_type", type}}),
                HasSubstr(fmt::format("rope_scaling: factor: missing, type is '{}'", type)));
  }
  EXPECT_THAT(refused("llama", "architectures", {"LlavaForConditionalGeneration"}),
              HasSubstr("a language model of model_type '' is not supported (known: llama, mistral)"));
}

// Keys that Hugging Face's classes of DeepSeek do not look at, and DeepSeek's own program and llama.cpp do.
TEST(FamilyConfigs, HowExpertsAreChosenIsWhatTheClassComputes) {
  const auto error = [](std::string_view hf_class, const char* key, const char* value) {
    HfModel model = family_model(*find_architecture("deepseek2"), 2, hf_class);
    model.config[key] = value;
    return error_of([&] { config_of(model); });
  };
  for (const char* hf_class : {"DeepseekV3ForCausalLM", "Glm4MoeLiteForCausalLM"}) {
    EXPECT_EQ(error(hf_class, "scoring_func", "sigmoid"), "");
    EXPECT_EQ(error(hf_class, "topk_method", "noaux_tc"), "");
    EXPECT_THAT(
        error(hf_class, "scoring_func", "softmax"),
        HasSubstr(fmt::format("scoring_func: softmax: {} models are converted with sigmoid", hf_class)));
    EXPECT_THAT(error(hf_class, "topk_method", "greedy"), HasSubstr("topk_method: greedy: "));
  }
  EXPECT_EQ(error("DeepseekV2ForCausalLM", "scoring_func", "softmax"), "");
  EXPECT_THAT(error("DeepseekV2ForCausalLM", "scoring_func", "sigmoid"),
              HasSubstr("scoring_func: sigmoid: DeepseekV2ForCausalLM models are converted with softmax"));
  EXPECT_THAT(error("DeepseekV2ForCausalLM", "topk_method", "noaux_tc"),
              HasSubstr("are converted with greedy or group_limited_greedy"));
  HfModel v2 = family_model(*find_architecture("deepseek2"), 2, "DeepseekV2ForCausalLM");
  v2.config["n_group"] = 2;
  v2.config["topk_group"] = nullptr;
  EXPECT_THAT(error_of([&] { config_of(v2); }), HasSubstr("topk_group: missing, n_group is 2"));
  v2.config["n_group"] = 1;
  v2.config["norm_topk_prob"] = true;
  EXPECT_THAT(config_of(v2).notes, testing::Contains(HasSubstr("norm_topk_prob: true: ")));
}

// A folder of that class without the keys that its row has a default for, but for those that must fit others.
HfModel without_defaults(std::string_view family, std::string_view hf_class) {
  const Architecture& row = *find_architecture(family);
  HfModel model = family_model(row, 2, hf_class);
  const HfClass& as = *std::ranges::find(row.hf->classes, hf_class, &HfClass::name);
  for (const std::span<const HfDefault> rows : {as.absent, row.hf->absent}) {
    for (const HfDefault& absent : rows) {
      const std::string_view key = absent.key;
      if (key != "num_experts_per_tok" && key != "num_key_value_heads") model.config.erase(absent.key);
    }
  }
  return model;
}

// What config.json leaves out is what the class has; null is not left out.
TEST(FamilyConfigs, WhatIsLeftOutIsAsTheClassHasIt) {
  const auto number = [](std::string_view family, std::string_view hf_class, const char* key) {
    return config_of(without_defaults(family, hf_class)).number(key);
  };
  for (const auto& [hf_class, scale, n_group, n_dense, n_shared] :
       {std::tuple("DeepseekV2ForCausalLM", std::optional<double>(), 1, 0, 2),
        {"DeepseekV3ForCausalLM", 2.5, 8, 3, 1},
        {"Glm4MoeLiteForCausalLM", 1.8, 1, 1, 1}}) {
    EXPECT_EQ(number("deepseek2", hf_class, "routed_scaling_factor"), scale) << hf_class;
    EXPECT_EQ(number("deepseek2", hf_class, "n_group"), n_group) << hf_class;
    EXPECT_EQ(number("deepseek2", hf_class, "first_k_dense_replace"), n_dense) << hf_class;
    EXPECT_EQ(number("deepseek2", hf_class, "n_shared_experts"), n_shared) << hf_class;
  }
  const HfConfig v3 = config_of(without_defaults("deepseek2", "DeepseekV3ForCausalLM"));
  EXPECT_EQ(v3.n_q_rank, 1536);
  EXPECT_EQ(v3.head_dim, 128 + 64);
  EXPECT_EQ(v3.n_dense, 3);
  EXPECT_EQ(v3.n_shared_ff, 2048);
  EXPECT_EQ(v3.n_expert_used, 2) << "it is there";
  EXPECT_EQ(config_of(without_defaults("lfm2moe", "Lfm2MoeForCausalLM")).n_dense, 2);
  EXPECT_EQ(config_of(without_defaults("gpt-oss", "GptOssForCausalLM")).rope.type, "yarn");
  EXPECT_EQ(config_of(without_defaults("llama", "MixtralForCausalLM")).rope.theta, 1e6);
  EXPECT_EQ(config_of(without_defaults("qwen35moe", "Qwen3_5MoeForCausalLM")).n_shared_ff, 512);
  const HfRope ministral = config_of(without_defaults("mistral3", "Ministral3ForCausalLM")).rope;
  EXPECT_EQ(ministral.type, "yarn");
  EXPECT_EQ(ministral.theta, 1e6);
  EXPECT_EQ(ministral.factor, 16);
  EXPECT_EQ(ministral.n_ctx_orig, 16384);
  const HfConfig phi3 = config_of(without_defaults("phi3", "Phi3ForCausalLM"));
  EXPECT_EQ(phi3.rope.n_ctx_orig, 4096);
  const auto of_class = [](std::string_view family, std::initializer_list<const char*> left_out) {
    HfModel model = family_named(std::string(family));
    for (const char* key : left_out) model.config.erase(key);
    return config_of(model);
  };
  EXPECT_EQ(of_class("phi3", {"rms_norm_eps"}).norm_eps, 1e-5);
  EXPECT_EQ(of_class("falcon-h1", {"rope_theta"}).rope.theta, 1e4);
  EXPECT_EQ(of_class("command-r", {"rope_theta"}).rope.theta, 5e5);
  EXPECT_EQ(of_class("exaone4", {"sliding_window"}).sliding_window, 4096);
  EXPECT_EQ(of_class("granitehybrid", {"num_local_experts", "num_experts"}).n_expert, 8);
  // Heads of keys are as many as the class has, not as there are of queries.
  for (const auto& [family, n] : {std::pair("glm4", 2), {"ernie4_5", 2}, {"starcoder2", 2}}) {
    HfModel model = family_named(family);
    model.config.erase("num_key_value_heads");
    EXPECT_EQ(config_of(model).n_head_kv, n) << family;
    model.config["num_key_value_heads"] = nullptr;
    EXPECT_EQ(config_of(model).n_head_kv, config_of(model).n_head) << family << ": null is not left out";
  }

  HfModel lite = family_model(*find_architecture("deepseek2"), 2, "Glm4MoeLiteForCausalLM");
  lite.config.erase("rms_norm_eps");
  lite.config.erase("norm_topk_prob");
  const Gguf gguf = Converted(lite).convert();
  EXPECT_FLOAT_EQ(float(gguf.get_float("deepseek2.expert_weights_scale").value_or(0)), 1.8f);
  EXPECT_EQ(gguf.get_bool("deepseek2.expert_weights_norm"), true);
  EXPECT_FLOAT_EQ(float(*gguf.get_float("deepseek2.attention.layer_norm_rms_epsilon")), 1e-5f);

  HfModel v2 = family_named("deepseek2");
  v2.config["n_group"] = 2;
  v2.config["topk_group"] = 1;
  EXPECT_THAT(error_of([&] { config_of(v2); }), HasSubstr("topk_method: greedy")) << "as the class has it";
  v2.config["topk_method"] = "group_limited_greedy";
  EXPECT_EQ(config_of(v2).number("n_group"), 2);
  HfModel oss = family_named("gpt-oss");
  oss.config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5000.0}};
  EXPECT_EQ(config_of(oss).rope.type, "default");
  HfModel mixtral = family_model(*find_architecture("llama"), 2, "MixtralForCausalLM");
  mixtral.config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5000.0}};
  EXPECT_EQ(config_of(mixtral).rope.theta, 5000);
}

// Two words for how many layers in front are dense.
TEST(FamilyConfigs, MlpLayerTypes) {
  HfModel model = family_model(*find_architecture("deepseek2"), 2, "Glm4MoeLiteForCausalLM");
  const auto error = [&](const nlohmann::ordered_json& types) {
    model.config["mlp_layer_types"] = types;
    return error_of([&] { config_of(model); });
  };
  EXPECT_THAT(error({"sparse", "sparse"}),
              HasSubstr("first_k_dense_replace: 1, but by mlp_layer_types it is 0"));
  model.config.erase("first_k_dense_replace");
  EXPECT_THAT(error({"sparse", "dense"}),
              HasSubstr("mlp_layer_types: \"dense\" in layer 1: GGUF's deepseek2"));
  EXPECT_THAT(error({"dense", "thin"}), HasSubstr("mlp_layer_types: \"thin\" makes no sense"));
  EXPECT_THAT(error({"dense"}), HasSubstr("mlp_layer_types: 1 for 2 layers"));
  EXPECT_THAT(error("dense"), HasSubstr("mlp_layer_types: \"dense\" makes no sense"));
  EXPECT_EQ(error({"dense", "dense"}), "");
  EXPECT_EQ(config_of(model).n_dense, 2);
  HfModel all = family_named("qwen3moe");
  all.config["mlp_layer_types"] = {"dense", "sparse"};
  EXPECT_THAT(error_of([&] { config_of(all); }), HasSubstr("GGUF's qwen3moe has experts in all layers"));
}

// Of every family: a key of another type is not as if it were not there.
TEST(FamilyConfigs, KeysOfAnotherType) {
  using Json = nlohmann::ordered_json;
  const std::pair<const char*, const char*> rows[] = {{"qwen35", "linear_conv_kernel_dim"},
                                                      {"qwen35", "full_attention_interval"},
                                                      {"qwen35", "mtp_num_hidden_layers"},
                                                      {"qwen35", "linear_num_value_heads"},
                                                      {"qwen3next", "norm_topk_prob"},
                                                      {"gemma4", "num_kv_shared_layers"},
                                                      {"gemma4", "attention_k_eq_v"},
                                                      {"gemma4", "enable_moe_block"},
                                                      {"gemma4", "global_head_dim"},
                                                      {"lfm2", "block_auto_adjust_ff_dim"},
                                                      {"lfm2", "theta"},
                                                      {"lfm2moe", "num_dense_layers"},
                                                      {"lfm2moe", "routed_scaling_factor"},
                                                      {"granitehybrid", "mamba_expand"},
                                                      {"granitehybrid", "attention_bias"},
                                                      {"granitehybrid", "embedding_multiplier"},
                                                      {"falcon-h1", "mamba_rms_norm"},
                                                      {"falcon-h1", "mamba_d_ssm"},
                                                      {"deepseek2", "kv_lora_rank"},
                                                      {"deepseek2", "q_lora_rank"},
                                                      {"deepseek2", "norm_topk_prob"},
                                                      {"nemotron_h", "mamba_num_heads"},
                                                      {"mamba2", "rms_norm"},
                                                      {"llama", "tie_word_embeddings"},
                                                      {"llama", "mlp_bias"},
                                                      {"qwen2", "use_sliding_window"},
                                                      {"minicpm", "scale_depth"},
                                                      {"falcon", "alibi"},
                                                      {"gptneox", "use_parallel_residual"},
                                                      {"gptneox", "rotary_pct"},
                                                      {"glm4moe", "num_nextn_predict_layers"},
                                                      {"smollm3", "no_rope_layer_interval"},
                                                      {"qwen3moe", "decoder_sparse_step"},
                                                      {"gemma2", "query_pre_attn_scalar"}};
  for (const auto& [family, key] : rows) {
    for (const Json& value : std::initializer_list<Json>{"x", Json::array({1}), Json::object()}) {
      HfModel model = family_named(family);
      model.config["sliding_window"] = 8;
      model.config[key] = value;
      std::string error = error_of([&] { config_of(model); });
      if (error.empty()) error = Converted(model).error();
      EXPECT_THAT(error, HasSubstr(std::string(key) + ": ")) << family << " " << value;
    }
  }
  for (const auto& [family, key] : {std::pair("lfm2", "layer_types"),
                                    {"lfm2", "full_attn_idxs"},
                                    {"nemotron_h", "layers_block_type"},
                                    {"nemotron_h", "hybrid_override_pattern"},
                                    {"granitehybrid", "position_embedding_type"},
                                    {"llama", "hidden_act"},
                                    {"qwen3moe", "mlp_only_layers"},
                                    {"deepseek2", "topk_method"}}) {
    HfModel model = family_named(family);
    model.config.erase("layer_types");
    model.config[key] = 3;
    EXPECT_THAT(error_of([&] { config_of(model); }), HasSubstr(std::string(key) + ": 3 makes no sense"))
        << family;
  }
  HfModel model = family_named("llama");
  model.config["eos_token_id"] = "</s>";
  EXPECT_THAT(config_of(model).notes,
              testing::ElementsAre("eos_token_id: \"</s>\" is no id, it is left out"));
}

// Keys are values by config.json, but the weights have values too: which is right is not for conversion to
// know.
TEST(FamilyTensors, ThatConfigJsonSaysThereAreNoneOfAreKeptAloud) {
  HfModel gemma = family_model(*find_architecture("gemma4"), 6);
  const auto lines = [&] {
    std::vector<std::string> said;
    ConvertEvents events;
    events.say = [&](std::string_view line) { said.emplace_back(line); };
    convert(Converted(gemma).options(), events);
    return said;
  };
  EXPECT_THAT(lines(), testing::Not(testing::Contains(HasSubstr("there are none of"))));
  gemma.config["attention_k_eq_v"] = true;
  EXPECT_THAT(lines(), testing::Contains(testing::AllOf(HasSubstr("1 tensors that by "),
                                                        HasSubstr("layers.5.self_attn.v_proj.weight"))));
}

// Programs cap at 30 where the file does not say: that none is capped is written.
TEST(FamilyConfigs, Gemma4WithoutACapSaysSo) {
  HfModel gemma = family_named("gemma4");
  gemma.config.erase("final_logit_softcapping");
  EXPECT_EQ(Converted(gemma).convert().get_float("gemma4.final_logit_softcapping"), 0);
  gemma.config["final_logit_softcapping"] = 30;
  EXPECT_EQ(Converted(gemma).convert().get_float("gemma4.final_logit_softcapping"), 30);
}

// Without experts, what all tokens go through is as wide as that of models with experts.
TEST(FamilyConfigs, GraniteHWithoutExperts) {
  HfModel granite = family_named("granitehybrid");
  granite.config["num_local_experts"] = granite.config["num_experts"] = 0;
  granite.config["shared_intermediate_size"] = 40;
  EXPECT_EQ(config_of(granite).n_ff, 40);
}

// The names of today and those of the first folders; without any the class's, whose layers all have a state.
TEST(FamilyConfigs, KindsOfLayersByEitherName) {
  HfModel granite = family_named("granitehybrid");
  const std::vector<bool> attends = config_of(granite).attends;
  granite.config["layer_types"] = {"mamba", "attention"};
  EXPECT_EQ(config_of(granite).attends, attends);
  granite.config.erase("layer_types");
  EXPECT_EQ(config_of(granite).attends, (std::vector<bool>{false, false}));
  HfModel nemotron = family_model(*find_architecture("nemotron_h"), 3);
  nemotron.config.erase("hybrid_override_pattern");
  for (const nlohmann::ordered_json& types :
       {nlohmann::ordered_json{"mamba", "attention", "mlp"}, {"linear_attention", "full_attention", "mlp"}}) {
    nemotron.config["layers_block_type"] = types;
    EXPECT_EQ(config_of(nemotron).attends, (std::vector<bool>{false, true, false}));
  }
}

TEST(FamilyConfigs, Mamba2SizesThatContradictEachOther) {
  const auto error = [](const char* family, const char* key, int64_t value) {
    HfModel model = family_named(family);
    model.config[key] = value;
    return error_of([&] { config_of(model); });
  };
  EXPECT_THAT(error("falcon-h1", "mamba_d_head", 8),
              HasSubstr("mamba_d_head: 8 heads of 8 are 64 columns, but by mamba_d_ssm they are 128"));
  EXPECT_THAT(error("granitehybrid", "mamba_expand", 4), HasSubstr("but by mamba_expand they are 256"));
  EXPECT_THAT(error("mamba2", "expand", 1), HasSubstr("but by expand they are 64"));
}

// Without a size of heads it is what they divide; nothing that they do not divide can be loaded.
TEST(FamilyConfigs, Mamba2HeadsDivideItsColumns) {
  HfModel model = family_named("granitehybrid");
  model.config.erase("mamba_d_head");
  model.config["mamba_n_groups"] = 1;
  model.config["mamba_n_heads"] = 6;
  EXPECT_THAT(error_of([&] { config_of(model); }), HasSubstr("mamba_n_heads: 128 columns"));
}

// LFM2's configurations say in two ways each how wide the MLP is and which layers have attention.
TEST(FamilyConfigs, Lfm2) {
  HfModel model = family_named("lfm2");
  const auto n_ff = [&](const nlohmann::ordered_json& more) {
    HfModel with = model;
    if (!more.is_null()) with.config.update(more);
    return config_of(with).n_ff;
  };
  EXPECT_EQ(n_ff({{"block_auto_adjust_ff_dim", false}}), 96);
  EXPECT_EQ(n_ff({{"block_auto_adjust_ff_dim", false}, {"block_ff_dim", 160}}), 160);
  EXPECT_EQ(n_ff({}), 256);
  EXPECT_EQ(n_ff({{"block_ff_dim", 12288}}), 8192);
  EXPECT_EQ(n_ff({{"block_multiple_of", 20}, {"block_ffn_dim_multiplier", 1.2}}), 80);  // of 2/3 96, 76

  model.config.erase("layer_types");
  EXPECT_EQ(config_of(model).attends, (std::vector<bool>{true, true}));
  model.config["full_attn_idxs"] = {1};
  const Gguf gguf = Converted(model).convert();
  EXPECT_EQ(gguf.get_ints("lfm2.attention.head_count_kv"), (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(gguf.tensor("blk.0.shortconv.conv.weight").shape(), "3 x 64");
  EXPECT_EQ(values_of(gguf.tensor("blk.0.shortconv.conv.weight")),
            model.tensors.at("model.layers.0.conv.conv.weight").values);
  EXPECT_EQ(values_of(gguf.tensor("token_embd_norm.weight")),
            model.tensors.at("model.embedding_norm.weight").values);
  model.config["full_attn_idxs"] = {2};
  EXPECT_THAT(error_of([&] { config_of(model); }), HasSubstr("full_attn_idxs: 2 of 2 layers"));
  model.config["theta"] = 5000.0;
  model.config["full_attn_idxs"] = {1};
  EXPECT_EQ(config_of(model).rope.theta, 5000);
}

// Keys that only some have.
TEST(FamilyConfigs, Keys) {
  const Gguf scaled = Converted(family_named("minicpm")).convert();
  EXPECT_FLOAT_EQ(float(*scaled.get_float("minicpm.embedding_scale")), 12);
  EXPECT_FLOAT_EQ(float(*scaled.get_float("minicpm.residual_scale")), float(1.4 / std::sqrt(2.0)));
  EXPECT_FLOAT_EQ(float(*scaled.get_float("minicpm.logit_scale")), 2);
  HfModel hunyuan = family_named("hunyuan-dense");
  hunyuan.config["rope_scaling"] = {{"type", "dynamic"}, {"alpha", 1000.0}, {"factor", 1.0}};
  const Gguf turned = Converted(hunyuan).convert();
  EXPECT_FLOAT_EQ(float(*turned.get_float("hunyuan-dense.rope.freq_base")),
                  float(1e4 * std::pow(1000.0, 16 / 14.0)));
  EXPECT_EQ(Converted(family_named("falcon")).convert().get_int("falcon.feed_forward_length"), 96);
  HfModel stretched = family_named("minicpm");
  const std::vector<double> factors(8, 1.5);
  stretched.config["rope_scaling"] = {{"rope_type", "longrope"},
                                      {"short_factor", factors},
                                      {"long_factor", factors},
                                      {"original_max_position_embeddings", 128}};
  const Gguf longer = Converted(stretched).convert();
  EXPECT_EQ(longer.get_int("minicpm.rope.scaling.original_context_length"), 128);
  EXPECT_FLOAT_EQ(float(*longer.get_float("minicpm.rope.scaling.attn_factor")),
                  float(std::sqrt(1 + std::log(4.0) / std::log(128.0))));
  EXPECT_EQ(Converted(family_named("stablelm")).convert().get_int("stablelm.rope.dimension_count"), 4);
  HfModel command = family_named("command-r");
  command.config["model_max_length"] = 2048;
  EXPECT_EQ(Converted(command).convert().get_int("command-r.context_length"), 2048);
}

}  // namespace families_convert_test
}  // namespace lora
