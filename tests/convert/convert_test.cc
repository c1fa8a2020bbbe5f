// Hugging Face folders to GGUF: the values, the keys and the vocabulary that come out; what is refused, and
// that nothing is left behind then.
#include "convert/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>

#include "base/file.h"
#include "gguf/gguf.h"
#include "gguf/hf_names.h"
#include "gguf/safetensors.h"
#include "gguf/test_pytorch.h"
#include "hf_models.h"
#include "model/model.h"
#include "model/step.h"
#include "tokenizer/tokenizer.h"

namespace lora {
namespace {

using namespace test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

const std::string kVocabulary = LORA_SOURCE_DIR "/models/tiny-q8_0.gguf";

struct Folder {
  std::string path;
  Folder() {
    static int n = 0;
    path = testing::TempDir() + fmt::format("lora_convert_{}_{}", ::getpid(), n++);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string at(const std::string& name) const { return path + "/" + name; }
  void write(const std::string& name, std::string_view text) const {
    std::ofstream(at(name), std::ios::binary).write(text.data(), std::streamsize(text.size()));
  }
  std::string read(const std::string& name) const {
    std::ifstream in(at(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::set<std::string> names() const {
    std::set<std::string> result;
    for (const auto& entry : fs::directory_iterator(path)) result.insert(entry.path().filename());
    return result;
  }
};

const std::vector<HfModel>& models() {
  static const std::vector<HfModel> all = make_hf_models();
  return all;
}

const HfModel& model_named(const std::string& name) {
  for (const HfModel& model : models()) {
    if (model.name == name) return model;
  }
  throw std::runtime_error(name);
}

// One model's folder, and what conversion makes of it.
struct Converted {
  Folder folder;
  explicit Converted(const HfModel& model) { write_hf_folder(model, folder.at("hf"), kVocabulary); }
  explicit Converted(const std::string& name) : Converted(model_named(name)) {}

  ConvertOptions options(const std::string& type = "f32") const {
    ConvertOptions o;
    o.folder = folder.at("hf");
    o.outfile = folder.at("out.gguf");
    o.outtype = type;
    o.n_threads = 2;
    return o;
  }
  Gguf convert(const ConvertOptions& o) const { return Gguf::open(lora::convert(o, {}).files.front()); }
  Gguf convert(const std::string& type = "f32") const { return convert(options(type)); }
  // What is thrown; nothing may be left beside the input.
  std::string error(const std::string& type = "f32") const {
    const std::string message = error_of([&] { convert(type); });
    EXPECT_THAT(folder.names(), ElementsAre("hf")) << message;
    return message;
  }
};

std::vector<float> values_of(const GgufTensor& tensor) {
  std::vector<float> values(size_t(tensor.n_elements()));
  traits(tensor.type).decode(values.data(), tensor.data.data(), tensor.n_elements());
  return values;
}

class EveryModel : public testing::TestWithParam<std::string> {};

// Names, shapes and values from the table alone; that llama.cpp computes the same is
// tests/interop/convert.sh's.
TEST_P(EveryModel, ValuesAreTheFoldersOwn) {
  const HfModel& model = model_named(GetParam());
  const Converted converted(model);
  const Gguf gguf = converted.convert();
  const HfArchitecture& arch = *find_hf_architecture(model.architecture);
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
    for (const auto& modules : arch.layer) {
      for (const HfModule& module : modules) {
        expect(module, fmt::format("model.layers.{}.{}", layer, module.hf),
               fmt::format("blk.{}.{}", layer, module.gguf));
      }
    }
  }
  for (const HfModule& module : hf_root_modules()) {
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
  const auto n = int64_t(ids.size());
  std::vector<int32_t> targets(ids.begin() + 1, ids.end()), positions(ids.size());
  targets.push_back(-1);
  std::iota(positions.begin(), positions.end(), 0);
  const AttentionSegment whole = {0, n, 0, n};
  std::vector<double> losses(ids.size());
  ThreadPool pool(2);
  Step step(loaded, plan_step(loaded, n, n, 0, false, GemmInput::f32, pool.size()), GemmInput::f32, pool);
  step.losses(losses.data(), {ids, targets, positions, {&whole, 1}});
  const double loss = std::accumulate(losses.begin(), losses.end(), 0.0) / double(n - 1);
  EXPECT_NEAR(loss / reference_loss(model, ids), 1, 2e-6);
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
  std::vector<int32_t> ids(size_t(n), 0), targets, positions(size_t(n), 0);
  std::memcpy(ids.data(), stored.data.data(), ids.size() * sizeof(int32_t));
  targets.assign(ids.begin() + 1, ids.end());
  targets.push_back(-1);
  std::iota(positions.begin(), positions.end(), 0);
  const Model model = load_model(out);
  ThreadPool pool(2);
  Step step(model, plan_step(model, n, n, 0, false, GemmInput::f32, pool.size()), GemmInput::f32, pool);
  const AttentionSegment whole = {0, n, 0, n};
  std::vector<double> losses(ids.size());
  step.losses(losses.data(), {ids, targets, positions, {&whole, 1}});
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
              HasSubstr("k_proj.weight': expected 128 x 128"));
  EXPECT_THAT(Broken("llama2").config_error("num_hidden_layers", 3),
              HasSubstr("tensor 'model.layers.2.input_layernorm.weight' is missing"));
  EXPECT_THAT(Broken("llama2").config_error("num_hidden_layers", 1),
              HasSubstr("tensor 'model.layers.1.input_layernorm.weight': not known for architecture llama"));
  EXPECT_THAT(Broken("llama2").config_error("num_hidden_layers", 2000000000),
              HasSubstr("2000000000 layers, but"));
  EXPECT_THAT(Broken("llama2").config_error("vocab_size", 2000000000),
              HasSubstr("expected 2000000000 x 128"));
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

}  // namespace
}  // namespace lora
