// Hugging Face folders to GGUF: the values, the keys and the vocabulary that come out; what is refused, and
// that nothing is left behind then.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "arch/architecture.h"
#include "arch/hf.h"
#include "base/file.h"
#include "converted.h"
#include "gguf/safetensors.h"
#include "model/model.h"
#include "text_loss.h"
#include "tokenizer/tokenizer.h"

namespace lora {
namespace convert_test {

using namespace test;
using testing::ElementsAre;

class EveryModel : public testing::TestWithParam<std::string> {};

// Names, shapes and values from the table alone; that llama.cpp computes the same is
// tests/interop/convert.sh's.
TEST_P(EveryModel, ValuesAreTheFoldersOwn) {
  const HfModel& model = model_named(GetParam());
  const Converted converted(model);
  const Gguf gguf = converted.convert();
  const HfFamily& arch = *find_hf_family(model.architecture)->hf;
  EXPECT_EQ(gguf.get_string("general.architecture"), model.architecture);
  size_t n_tensors = 0;
  const auto expect = [&](const HfModule& module, const std::string& hf, const std::string& name) {
    for (const std::string part : {".weight", ".bias"}) {
      const auto stored = model.tensors.find(hf + part);
      if (stored == model.tensors.end()) continue;
      ++n_tensors;
      const std::vector<float> found = values_of(gguf.tensor(name + part));
      const std::vector<float>& values = stored->second.values;
      ASSERT_EQ(found.size(), values.size()) << name;
      const size_t n_rows = size_t(stored->second.shape[0]), n_cols = values.size() / n_rows;
      const bool moves = arch.reorders_heads && module.order != RowOrder::as_is;
      const int64_t heads = module.order == RowOrder::heads ? model.number("num_attention_heads")
                                                            : model.number("num_key_value_heads");
      const float add = model.traits.norm_plus_one && module.n_out == Dim::none ? 1 : 0;
      for (size_t row = 0; row < n_rows; ++row) {
        const size_t from = moves ? size_t(hf_row(int64_t(row), int64_t(n_rows) / heads)) : row;
        for (size_t col = 0; col < n_cols; ++col) {
          ASSERT_EQ(found[row * n_cols + col], values[from * n_cols + col] + add) << name << " " << row;
        }
      }
    }
  };
  for (int64_t layer = 0; layer < model.number("num_hidden_layers"); ++layer) {
    for_each_layer_module(arch, [&](const HfModule& module) {
      expect(module, fmt::format("model.layers.{}.{}", layer, module.hf),
             fmt::format("blk.{}.{}", layer, module.gguf));
    });
  }
  for (const HfModule& module : hf::kRoot) {
    expect(module, (module.hf == "lm_head" ? "" : "model.") + std::string(module.hf),
           std::string(module.gguf));
  }
  for (const GgufTensor& tensor : gguf.tensors()) n_tensors += tensor.name.starts_with("rope_f");
  EXPECT_EQ(n_tensors, gguf.tensors().size());
  EXPECT_EQ(gguf.get_strings("tokenizer.ggml.tokens")->size(), size_t(model.number("vocab_size")));
  EXPECT_NO_THROW(Tokenizer{gguf});
}

class EveryModelThatRuns : public EveryModel {};

TEST_P(EveryModelThatRuns, LossIsThatOfTheFormulas) {
  const HfModel& model = model_named(GetParam());
  const Converted converted(model);
  converted.convert();
  const Model loaded = load_model(converted.folder.at("out.gguf"));
  const std::vector<int32_t> ids = some_tokens(model, 40);
  EXPECT_NEAR(test::mean_loss(loaded, ids) / reference_loss(model, ids), 1, 2e-6);
}

TEST_P(EveryModel, ThreadsChangeNothing) {
  const Converted converted(GetParam());
  for (const char* type : {"q8_0", "bf16"}) {
    ConvertOptions one = converted.options(type);
    one.n_threads = 1;
    converted.convert(one);
    const std::string bytes = converted.folder.read("out.gguf");
    one.n_threads = 5;
    converted.convert(one);
    EXPECT_EQ(bytes, converted.folder.read("out.gguf"));
  }
}

std::vector<std::string> names_of_models(std::string_view architecture = "") {
  std::vector<std::string> names;
  for (const HfModel& model : models()) {
    if (architecture.empty() || model.architecture == architecture) names.push_back(model.name);
  }
  return names;
}
std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Hf, EveryModelThatRuns, testing::ValuesIn(names_of_models("llama")), test_name);
INSTANTIATE_TEST_SUITE_P(Hf, EveryModel, testing::ValuesIn(names_of_models()), test_name);

TEST(Convert, TypesAndTheirNumbers) {
  const Converted converted("llama2");
  for (const auto& [name, type, number] : {std::tuple("f32", Type::F32, 0),
                                           {"f16", Type::F16, 1},
                                           {"q8_0", Type::Q8_0, 7},
                                           {"bf16", Type::BF16, 32}}) {
    const Gguf gguf = converted.convert(name);
    EXPECT_EQ(gguf.get_int("general.file_type"), number);
    EXPECT_EQ(gguf.tensor("token_embd.weight").type, type);
    EXPECT_EQ(gguf.tensor("blk.1.ffn_down.weight").type, type);
    EXPECT_EQ(gguf.tensor("blk.1.attn_norm.weight").type, Type::F32) << "vectors stay";
  }
  EXPECT_EQ(converted.convert("auto").get_int("general.file_type"), 32) << "F32 weights";
  EXPECT_EQ(Converted("mistral").convert("auto").get_int("general.file_type"), 1) << "F16 weights";
}

TEST(Convert, RowsThatBlocksDoNotDivideAreF16) {
  HfModel model = model_named("llama2");
  model.config["intermediate_size"] = 100;
  for (auto& [name, stored] : model.tensors) {
    if (name.find("mlp.") == name.npos) continue;
    for (int64_t& n : stored.shape) n = n == 160 ? 100 : n;
    stored.bytes.resize(stored.bytes.size() / 160 * 100);
  }
  const Gguf gguf = Converted(model).convert("q8_0");
  EXPECT_EQ(gguf.tensor("blk.0.ffn_down.weight").type, Type::F16);
  EXPECT_EQ(gguf.tensor("blk.0.ffn_up.weight").type, Type::Q8_0);
}

TEST(Convert, SeveralFiles) {
  const Converted converted("llama2");
  converted.convert();
  const std::string whole = converted.folder.at("whole.gguf");
  fs::rename(converted.folder.at("out.gguf"), whole);
  ConvertOptions options = converted.options();
  options.split_max_bytes = 1 << 20;
  const ConvertResult result = convert(options, {});
  ASSERT_GT(result.files.size(), 2u);
  EXPECT_THAT(result.files.front(),
              testing::EndsWith(fmt::format("out-00001-of-{:05}.gguf", result.files.size())));
  const Gguf one = Gguf::open(whole), parts = Gguf::open(result.files.back());
  ASSERT_EQ(one.tensors().size(), parts.tensors().size());
  for (const GgufTensor& tensor : one.tensors()) {
    EXPECT_EQ(values_of(tensor), values_of(parts.tensor(tensor.name))) << tensor.name;
  }
  EXPECT_EQ(parts.get_int("split.count"), int64_t(result.files.size()));
  EXPECT_NO_THROW(load_model(result.files.front()));
}

TEST(Convert, VocabularyOnlyNeedsNoWeights) {
  const Converted converted("llama3");
  for (const auto& entry : fs::directory_iterator(converted.folder.at("hf"))) {
    if (entry.path().extension() == ".safetensors") fs::remove(entry.path());
  }
  ConvertOptions options = converted.options();
  options.vocab_only = true;
  const Gguf gguf = converted.convert(options);
  EXPECT_TRUE(gguf.tensors().empty());
  const Tokenizer tokenizer(gguf);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("the band\n")), "the band\n");
}

TEST(Convert, ByteLevelVocabulary) {
  const Gguf gguf = Converted("qwen2").convert();
  EXPECT_EQ(gguf.get_string("tokenizer.ggml.model"), "gpt2");
  EXPECT_EQ(gguf.get_string("tokenizer.ggml.pre"), "qwen2");
  EXPECT_EQ(gguf.get_bool("tokenizer.ggml.add_bos_token"), false);
  EXPECT_EQ(gguf.get_string("tokenizer.chat_template"), "{{ messages[0].content }}<|im_end|>");
  const Tokenizer tokenizer(gguf);
  EXPECT_EQ(tokenizer.piece(tokenizer.bos()), "<|begin|>");
  EXPECT_EQ(tokenizer.piece(tokenizer.eot()), "<|im_end|>");
  EXPECT_EQ(tokenizer.kind(tokenizer.eos()), TokenKind::control);
  const std::vector<Token> ids = tokenizer.encode("<tool>in the sand");
  std::vector<std::string> pieces;
  for (const Token id : ids) pieces.push_back(tokenizer.piece(id));
  EXPECT_THAT(pieces, ElementsAre("<tool>", "in", "Ġthe", "Ġ", "s", "and"));
  EXPECT_EQ(tokenizer.kind(ids[0]), TokenKind::user_defined);
  EXPECT_EQ(tokenizer.piece(4095), "[PAD4095]");
  EXPECT_EQ(tokenizer.kind(4095), TokenKind::unused);
}

TEST(Convert, SentencePieceVocabularyIsTheOriginal) {
  const Gguf gguf = Converted("llama2").convert(), original = Gguf::open(kVocabulary);
  for (const char* key : {"tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type"}) {
    EXPECT_EQ(gguf.find(key)->value, original.find(key)->value) << key;
  }
  EXPECT_EQ(gguf.get_bool("tokenizer.ggml.add_space_prefix"), true);
}

// The bundled model's own folder.
TEST(Convert, TheBundledModelsFolder) {
  const std::string hf = LORA_SHARED_DIR "/models/tiny-hf",
                    expected = LORA_SHARED_DIR "/models/tiny-f32.gguf";
  const std::string numbers = LORA_SHARED_DIR "/golden/tiny-golden.safetensors";
  if (!file_exists(hf) || !file_exists(expected) || !file_exists(numbers))
    GTEST_SKIP() << hf << " is not here";
  const Folder folder;
  const std::string out = folder.at("tiny.gguf");
  ConvertOptions options;
  options.folder = hf;
  options.outfile = out;
  options.outtype = "f32";
  convert(options, {});
  const Gguf gguf = Gguf::open(out), want = Gguf::open(expected);
  ASSERT_EQ(gguf.tensors().size(), want.tensors().size());
  for (const GgufTensor& tensor : want.tensors()) {
    const GgufTensor& found = gguf.tensor(tensor.name);
    EXPECT_EQ(found.shape(), tensor.shape());
    EXPECT_EQ(0, std::memcmp(found.data.data(), tensor.data.data(), tensor.data.size())) << tensor.name;
  }
  for (const auto& [key, value] : want.values()) {
    if (key == "general.name") continue;
    ASSERT_TRUE(gguf.find(key)) << key;
    EXPECT_EQ(gguf.find(key)->value, value.value) << key;
  }
  // The losses of the same tokens, from PyTorch.
  const SafeTensors golden = SafeTensors::open(numbers);
  const SafeTensor& stored = golden.tensor("ids");
  const int64_t n = stored.shape[1];
  std::vector<int32_t> ids(size_t(n), 0);
  std::memcpy(ids.data(), stored.data.data(), ids.size() * sizeof(int32_t));
  const std::vector<double> losses = test::text_losses(load_model(out), ids);
  const std::vector<float> logits = golden.tensor("base_logits").to_f32();
  const size_t n_vocab = logits.size() / ids.size();
  for (size_t t = 0; t + 1 < ids.size(); ++t) {
    const auto row = std::span(logits).subspan(t * n_vocab, n_vocab);
    const double highest = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const float logit : row) sum += std::exp(double(logit) - highest);
    EXPECT_NEAR(losses[t], highest + std::log(sum) - row[size_t(ids[t + 1])], 1e-4) << t;
  }
}

TEST(Convert, StoppedOnRequestLeavesNothing) {
  const Converted converted("llama2");
  ConvertEvents events;
  int asked = 0;
  events.should_stop = [&] { return ++asked > 5; };
  ConvertOptions options = converted.options();
  options.n_threads = 1;
  EXPECT_TRUE(convert(options, events).stopped);
  EXPECT_THAT(converted.folder.names(), ElementsAre("hf"));
}

}  // namespace convert_test
}  // namespace lora
