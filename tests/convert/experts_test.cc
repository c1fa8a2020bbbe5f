// Mixtures of experts: their folders to GGUF, what goes into each expert, and what quantizing makes of that.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "convert/collect_imatrix.h"
#include "convert/quantize.h"
#include "converted.h"
#include "family_models.h"
#include "model/model.h"

namespace lora {
namespace experts_test {

using namespace test;
using testing::HasSubstr;

HfModel family_named(std::string_view name) {
  return family_model(*find_architecture(name));
}

// What folders have expert by expert may also be one tensor, as newer programs save it.
TEST(Experts, ExpertsInOneTensor) {
  const HfModel model = family_named("qwen3moe");
  const Gguf want = Converted(model).convert();
  HfModel stacked = model;
  const auto take = [&](const std::string& name) {
    const HfStored one = stacked.tensors.at(name);
    stacked.tensors.erase(name);
    return one.bytes;
  };
  for (const int layer : {0, 1}) {
    const std::string experts = fmt::format("model.layers.{}.mlp.experts.", layer);
    HfStored gate_up{"F32", {4, 80, 64}, {}, {}}, down{"F32", {4, 64, 40}, {}, {}};
    for (int e = 0; e < 4; ++e) {
      for (const char* part : {"gate", "up"})
        gate_up.bytes += take(fmt::format("{}{}.{}_proj.weight", experts, e, part));
      down.bytes += take(fmt::format("{}{}.down_proj.weight", experts, e));
    }
    stacked.tensors[experts + "gate_up_proj"] = gate_up;
    stacked.tensors[experts + "down_proj"] = down;
  }
  const Converted converted(stacked);
  const Gguf found = converted.convert();
  ASSERT_EQ(found.tensors().size(), want.tensors().size());
  for (const GgufTensor& tensor : want.tensors())
    EXPECT_TRUE(std::ranges::equal(found.tensor(tensor.name).data, tensor.data)) << tensor.name;
  EXPECT_EQ(found.get_string("general.size_label"), want.get_string("general.size_label"));
  stacked.tensors.at("model.layers.1.mlp.experts.down_proj").shape = {4, 40, 64};
  EXPECT_THAT(Converted(stacked).error(), HasSubstr("expected 4 x 64 x 40"));
  HfModel lacks = model;
  lacks.tensors.erase("model.layers.1.mlp.experts.3.up_proj.weight");
  EXPECT_THAT(Converted(lacks).error(), HasSubstr("experts.3.up_proj.weight' is missing"));
}

// Blocks of gpt-oss keep their bits: a byte holds neighbours at Hugging Face, in GGUF the i-th and the (i +
// 16)-th.
TEST(Experts, Mxfp4BlocksStayAsTheyAre) {
  HfModel model = family_named("gpt-oss");
  model.config["quantization_config"] = {{"quant_method", "mxfp4"}};
  const auto byte = [](int64_t i, uint64_t stream) {
    return uint8_t(random_bits(5, Purpose::test, stream, uint64_t(i)) & 0xff);
  };
  const auto put = [&](const std::string& name, int64_t n_rows, int64_t n_cols, uint64_t stream) {
    HfStored blocks{"U8", {4, n_rows, n_cols / 32, 16}, {}, {}},
        scales{"U8", {4, n_rows, n_cols / 32}, {}, {}};
    for (int64_t i = 0; i < 4 * n_rows * n_cols / 2; ++i) blocks.bytes += char(byte(i, stream));
    for (int64_t i = 0; i < 4 * n_rows * n_cols / 32; ++i)
      scales.bytes += char(120 + byte(i, stream + 1) % 8);
    model.tensors.erase(name);
    model.tensors[name + "_blocks"] = blocks;
    model.tensors[name + "_scales"] = scales;
  };
  for (const int layer : {0, 1}) {
    put(fmt::format("model.layers.{}.mlp.experts.gate_up_proj", layer), 192, 64, 10);
    put(fmt::format("model.layers.{}.mlp.experts.down_proj", layer), 64, 96, 20);
  }
  const Gguf gguf = Converted(model).convert();
  const GgufTensor& up = gguf.tensor("blk.1.ffn_up_exps.weight");
  EXPECT_EQ(up.type, Type::MXFP4);
  EXPECT_EQ(up.shape(), "64 x 96 x 4");
  const std::vector<float> found = values_of(up);
  constexpr float kValues[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (int64_t e = 0; e < 4; ++e) {
    for (int64_t row = 0; row < 96; ++row) {
      for (int64_t col = 0; col < 64; ++col) {
        const int64_t at = (e * 192 + 2 * row + 1) * 64 + col;  // up has every second row
        const uint8_t pair = byte(at / 2, 10), code = at % 2 == 0 ? pair & 15 : pair >> 4;
        const float scale = std::ldexp(1.0f, 120 + byte(at / 32, 11) % 8 - 127);
        const float want = kValues[code & 7] * scale * (code & 8 ? -1.0f : 1.0f);
        ASSERT_EQ(found[size_t((e * 96 + row) * 64 + col)], want) << e << " " << row << " " << col;
      }
    }
  }
  HfStored& scales = model.tensors.at("model.layers.1.mlp.experts.down_proj_scales");
  scales.bytes[7] = char(255);
  EXPECT_THAT(Converted(model).error(), HasSubstr("scale is not a number: the file is damaged"));
  scales.dtype = "I8";
  EXPECT_THAT(Converted(model).error(), HasSubstr("not MXFP4 blocks"));
}

// Layers behind the last guess at tokens further on: they are kept for programs that do.
TEST(Experts, LayersAhead) {
  HfModel model = family_named("glm4moe");
  model.config["num_nextn_predict_layers"] = 1;
  const Converted without(model);
  std::vector<std::string> lines;
  ConvertEvents events;
  events.say = [&](std::string_view line) { lines.emplace_back(line); };
  const Gguf plain = Gguf::open(convert(without.options(), events).files.front());
  EXPECT_THAT(lines,
              testing::Contains(HasSubstr("num_nextn_predict_layers: 1, but the weights have no model.")));
  EXPECT_EQ(plain.get_int("glm4moe.block_count"), 2);
  std::map<std::string, HfStored> ahead;
  for (const auto& [name, stored] : model.tensors) {
    if (const size_t at = name.find("layers.1."); at != name.npos)
      ahead[name.substr(0, at) + "layers.2." + name.substr(at + 9)] = stored;
  }
  const std::string layer = "model.layers.2.";
  const HfStored& norm = model.tensors.at("model.norm.weight");
  for (const char* name : {"enorm", "hnorm", "shared_head.norm"}) ahead[layer + name + ".weight"] = norm;
  HfStored& both = ahead[layer + "eh_proj.weight"] = model.tensors.at("lm_head.weight");
  both.shape = {64, 128};
  both.bytes.resize(64 * 128 * sizeof(float));
  both.values.resize(64 * 128);
  model.tensors.merge(ahead);
  const Converted converted(model);
  const Gguf gguf = converted.convert();
  EXPECT_EQ(gguf.get_int("glm4moe.block_count"), 3);
  EXPECT_EQ(gguf.get_int("glm4moe.nextn_predict_layers"), 1);
  EXPECT_EQ(gguf.tensor("blk.2.nextn.eh_proj.weight").shape(), "128 x 64");
  EXPECT_TRUE(gguf.find_tensor("blk.2.ffn_up_exps.weight"));
  EXPECT_EQ(load_model(converted.folder.at("out.gguf")).config.n_layer, 2);
}

TEST(Experts, OfMixturesMakeSense) {
  const auto refused = [](const char* family, const char* key, const nlohmann::ordered_json& value) {
    HfModel model = family_named(family);
    model.config[key] = value;
    return error_of([&] { config_of(model); });
  };
  EXPECT_THAT(refused("qwen3moe", "num_experts", nullptr), HasSubstr("num_experts, num_local_experts"));
  EXPECT_THAT(refused("qwen3moe", "num_experts", 1 << 20), HasSubstr("1048576 experts make no sense"));
  EXPECT_THAT(refused("qwen3moe", "num_experts_per_tok", 5), HasSubstr("5 of 4 experts make no sense"));
  EXPECT_THAT(refused("qwen3moe", "norm_topk_prob", false), HasSubstr("sum up to one"));
  EXPECT_THAT(refused("qwen2moe", "norm_topk_prob", true), HasSubstr("sum up to one"));
  EXPECT_THAT(refused("olmoe", "clip_qkv", 8.0), HasSubstr("does not clip"));
  EXPECT_THAT(refused("gpt-oss", "swiglu_limit", 5.0), HasSubstr("computes with 7"));
  EXPECT_THAT(refused("glm4moe", "first_k_dense_replace", -1), HasSubstr("first_k_dense_replace: "));
}

EvalResult collect(Imatrix& imatrix, const std::string& model, const std::string& text,
                   std::vector<std::string>* lines = nullptr) {
  EvalOptions options;
  options.model = model;
  options.text = text;
  options.n_ctx = 64;
  options.precision = Precision::f32;
  EvalEvents events;
  events.say = [&](std::string_view line) {
    if (lines) lines->emplace_back(line);
  };
  return collect_imatrix(imatrix, options, events);
}

TEST(ExpertsImatrix, HasSumsAndCountsOfEachExpert) {
  const Converted converted(family_named("qwen3moe"));
  const Gguf model = converted.convert();
  std::string text;
  for (int i = 0; i < 60; ++i) text += fmt::format("the {} ship and {} sea; ", i * 7 % 13, i * 5 % 11);
  Imatrix imatrix;
  collect(imatrix, converted.folder.at("out.gguf"), text);
  double n_tokens = imatrix.entries.at("blk.0.attn_q.weight").counts.at(0);
  for (const char* part : {"gate", "up", "down"}) {
    const ImatrixEntry& entry = imatrix.entries.at(fmt::format("blk.0.ffn_{}_exps.weight", part));
    ASSERT_EQ(entry.counts.size(), 4u);
    EXPECT_EQ(entry.sums.size(), 4u * (part == std::string("down") ? 40 : 64));
    EXPECT_EQ(std::accumulate(entry.counts.begin(), entry.counts.end(), 0.0), 2 * n_tokens) << "two of four";
    for (size_t e = 0; e < 4; ++e) {
      const size_t n_cols = entry.sums.size() / 4;
      const auto begin = entry.sums.begin() + int64_t(e * n_cols);
      const double sum = std::accumulate(begin, begin + int64_t(n_cols), 0.0);
      EXPECT_EQ(sum > 0, entry.counts[e] > 0) << part << e;
    }
  }
  const ImatrixEntry &gate = imatrix.entries.at("blk.1.ffn_gate_exps.weight"),
                     &up = imatrix.entries.at("blk.1.ffn_up_exps.weight");
  EXPECT_EQ(gate.sums, up.sums) << "they read the same";
  // The experts of a token share its input: theirs add up to twice the router's.
  const ImatrixEntry& router = imatrix.entries.at("blk.1.ffn_gate_inp.weight");
  for (size_t c = 0; c < 64; ++c) {
    double all = 0;
    for (size_t e = 0; e < 4; ++e) all += double(gate.sums[e * 64 + c]);
    EXPECT_NEAR(all, 2 * double(router.sums[c]), 1e-4 * all);
  }
}

TEST(ExpertsImatrix, NamesExpertsThatNoTokenWentTo) {
  const Converted converted(family_named("qwen3moe"));
  converted.convert();
  Imatrix imatrix;
  std::vector<std::string> lines;
  collect(imatrix, converted.folder.at("out.gguf"), "ab", &lines);  // two of four experts see each token
  const ImatrixEntry& entry = imatrix.entries.at("blk.0.ffn_up_exps.weight");
  const auto n_without = std::count(entry.counts.begin(), entry.counts.end(), 0.0f);
  ASSERT_GT(n_without, 0);
  EXPECT_THAT(lines,
              testing::Contains(testing::AllOf(HasSubstr("no token of the text went to these experts: "),
                                               HasSubstr("blk.0: expert"))));
  write_imatrix(imatrix, converted.folder.at("i.gguf"));
  QuantizeOptions options{converted.folder.at("out.gguf"), converted.folder.at("q.gguf"), find_mix("Q4_0")};
  options.imatrix = converted.folder.at("i.gguf");
  lines.clear();
  QuantizeEvents events;
  events.say = [&](std::string_view line) { lines.emplace_back(line); };
  quantize(options, events);
  EXPECT_THAT(lines, testing::Contains(HasSubstr("quantized without: blk.0: expert")));
}

}  // namespace experts_test
}  // namespace lora
