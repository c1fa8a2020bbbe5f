// `lora inspect` on every kind of file, and `lora tokenize`.
#include <nlohmann/json.hpp>

#include "cli_test.h"

namespace lora::test {
namespace {

using Args = std::vector<std::string>;
using nlohmann::json;

class Inspect : public testing::Test {
 protected:
  Folder folder;

  json described(const std::string& path) const {
    const RunResult run = folder.lora({"inspect", "--json", path});
    EXPECT_EQ(run.status, 0) << run.err;
    EXPECT_EQ(run.err, "");
    return json::parse(run.out, nullptr, false);
  }
  json tokenized(const Args& flags) const {
    const RunResult run = folder.lora(Args{"tokenize", "-m", "model.gguf", "--json"} + flags);
    EXPECT_EQ(run.status, 0) << run.err;
    return json::parse(run.out, nullptr, false);
  }
};

TEST_F(Inspect, DescribesAModel) {
  const json model = described("model.gguf");
  EXPECT_EQ(model["format"], "gguf");
  EXPECT_EQ(model["version"], 3);
  EXPECT_EQ(model["metadata"]["general.architecture"], "llama");
  EXPECT_EQ(model["metadata"]["tokenizer.ggml.tokens"].size(), 4096u);
  int64_t parameters = 0;
  for (const json& tensor : model["tensors"]) {
    int64_t n = 1;
    for (const json& ne : tensor["shape"]) n *= ne.get<int64_t>();
    parameters += n;
  }
  EXPECT_EQ(model["parameters"], parameters);
  EXPECT_GT(parameters, 6000000);
  const RunResult text = folder.lora({"inspect", "model.gguf"});
  EXPECT_EQ(text.status, 0);
  for (const char* part :
       {"general.architecture", "llama.embedding_length", "token_embd.weight", "256 x 4096", "Q8_0"}) {
    EXPECT_THAT(text.out, testing::HasSubstr(part));
  }
  EXPECT_LT(text.out.size(), 20000u);  // long arrays are cut
}

TEST_F(Inspect, DescribesWhatARunWrites) {
  folder.write("text.txt", ship_sentences());
  ASSERT_EQ(folder
                .lora(kFinetune + Args{"--lora-out", "lora.gguf", "--checkpoint-out", "c.gguf", "--lora-r",
                                       "3", "--lora-alpha", "6"})
                .status,
            0);
  const json adapter = described("lora.gguf"), checkpoint = described("c.gguf");
  const json& facts = adapter["metadata"];
  EXPECT_EQ(facts["general.type"], "adapter");
  EXPECT_EQ(facts["general.architecture"], "llama");
  EXPECT_EQ(facts["adapter.type"], "lora");
  EXPECT_EQ(facts["adapter.lora.alpha"], 6);
  EXPECT_EQ(adapter["tensors"].size(), 2 * 6 * 7u);
  for (const json& tensor : adapter["tensors"]) {
    const std::string name = tensor["name"];
    EXPECT_EQ(tensor["type"], "F32");
    EXPECT_EQ(tensor["shape"][name.ends_with(".weight.lora_a") ? 1 : 0], 3) << name;
  }
  EXPECT_EQ(checkpoint["metadata"]["general.type"], "checkpoint");
  EXPECT_EQ(checkpoint["metadata"]["lora_cpp.checkpoint.iteration"], 2);
  EXPECT_EQ(checkpoint["metadata"]["lora_cpp.checkpoint.seed"], 5);
  EXPECT_EQ(checkpoint["tensors"].size(), 3 * 2 * 6 * 7u);  // values and two moments
}

TEST_F(Inspect, DescribesSafetensors) {
  const json golden = described(LORA_SOURCE_DIR "/tests/golden/quant-q4_k.safetensors");
  EXPECT_EQ(golden["format"], "safetensors");
  EXPECT_TRUE(golden["version"].is_null());
  std::set<std::string> names;
  for (const json& tensor : golden["tensors"]) names.insert(tensor["name"]);
  EXPECT_EQ(names, (std::set<std::string>{"raw", "values"}));
}

TEST_F(Inspect, DescribesAVocabulary) {
  write_vocabulary(folder.at("vocabulary.gguf"));
  const json vocabulary = described("vocabulary.gguf");
  EXPECT_TRUE(vocabulary["tensors"].empty());
  EXPECT_TRUE(vocabulary["bits_per_weight"].is_null());
}

using Tokenize = Inspect;

TEST_F(Tokenize, JsonHoldsIdsAndPiecesThatSpellTheText) {
  const std::string text = "The ship's 42 \"sails\".";
  const json with_bos = tokenized({"-p", text}), plain = tokenized({"-p", text, "--no-bos"});
  ASSERT_EQ(with_bos["ids"].size(), plain["ids"].size() + 1);
  EXPECT_EQ(with_bos["ids"].size(), with_bos["pieces"].size());
  EXPECT_EQ(with_bos["ids"][0], 1);
  EXPECT_EQ(json(with_bos["ids"].begin() + 1, with_bos["ids"].end()), plain["ids"]);
  std::string spelled;
  for (const json& piece : plain["pieces"]) spelled += piece.get<std::string>();
  EXPECT_EQ(spelled, " " + text);
}

// The bundled vocabulary spells this letter in two byte tokens; U+FFFD stands for each.
TEST_F(Tokenize, APieceThatIsPartOfACharacterIsStillValidJson) {
  EXPECT_EQ(tokenized({"-p", "\xc3\xa9", "--no-bos"})["pieces"], json({" ", "\xef\xbf\xbd", "\xef\xbf\xbd"}));
}

TEST_F(Tokenize, SpecialTokensAreReadOnlyWhereAskedForAndBosNeverDoubles) {
  EXPECT_EQ(tokenized({"-p", "<s>", "--parse-special"})["ids"], json({1}));
  EXPECT_GT(tokenized({"-p", "<s>"})["ids"].size(), 2u);
  EXPECT_EQ(tokenized({"-p", ""})["ids"], json({1}));
}

TEST_F(Tokenize, AFileIsReadAsItStands) {
  folder.write("text.txt", "The ship\r\nsailed\n");
  EXPECT_EQ(tokenized({"-f", "text.txt"}), tokenized({"-p", "The ship\r\nsailed\n"}));
}

TEST_F(Tokenize, TextOutputIsALinePerToken) {
  const RunResult run = folder.lora({"tokenize", "-m", "model.gguf", "-p", "The\nship"});
  EXPECT_EQ(lines_of(run.out).size(), tokenized({"-p", "The\nship"})["ids"].size());
  for (const std::string& line : lines_of(run.out)) EXPECT_THAT(line, testing::MatchesRegex("[0-9]+\t'.*'"));
}

TEST_F(Tokenize, AVocabularyAloneWillDo) {
  write_vocabulary(folder.at("vocabulary.gguf"));
  EXPECT_EQ(tokenized({"-m", "vocabulary.gguf", "-p", "The ship"}), tokenized({"-p", "The ship"}));
}

TEST_F(Tokenize, VocabularyFilesOfOthers) {
  int n = 0;
  for (const char* name : {"llama-spm", "llama-bpe", "gpt-2", "qwen2", "falcon", "deepseek-coder"}) {
    const std::string vocabulary = std::string(LORA_SHARED_DIR "/vocab/ggml-vocab-") + name + ".gguf";
    if (!std::filesystem::exists(vocabulary)) continue;
    const json got = tokenized({"-m", vocabulary, "--no-bos", "-p", "Hello, world! 123"});
    std::string spelled;
    for (const json& piece : got["pieces"]) spelled += piece.get<std::string>();
    EXPECT_THAT(spelled, testing::EndsWith("Hello, world! 123")) << name;
    ++n;
  }
  if (n == 0) GTEST_SKIP() << "no " LORA_SHARED_DIR "/vocab";
}

}  // namespace
}  // namespace lora::test
