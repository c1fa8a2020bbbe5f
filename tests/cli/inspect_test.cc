// `lora inspect` on every kind of file.
#include <nlohmann/json.hpp>

#include "cli_test.h"

namespace lora::test {
namespace inspect_test {

using Args = std::vector<std::string>;
using json = nlohmann::ordered_json;

class Inspect : public testing::Test {
 protected:
  Folder folder;

  json described(const std::string& path) const {
    const RunResult run = folder.lora({"inspect", "--json", path});
    EXPECT_EQ(run.status, 0) << run.err;
    EXPECT_EQ(run.err, "");
    return parse_json(run.out);
  }
};

TEST_F(Inspect, AFolderIsToldWhatItIs) {
  for (const auto& [file, what] :
       {std::pair("peft/adapter_config.json",
                  "a folder with a LoRA of PEFT or MLX, which --lora takes as it is"),
        {"hf/config.json", "the folder of a Hugging Face model, of which lora convert hf makes a GGUF"},
        {"other/text.txt", "a folder, and not that of a Hugging Face model or LoRA"}}) {
    const std::string path = std::string(file).substr(0, std::string(file).find('/'));
    std::filesystem::create_directories(folder.at(path));
    folder.write(file, "{}");
    expect_error(folder.lora({"inspect", path}), 1, path + ": " + what);
  }
}

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
  EXPECT_EQ(checkpoint["tensors"].size(), 3 * 2 * 6 * 7u + 1);  // values and two moments, checksum
}

TEST_F(Inspect, DescribesSafetensors) {
  const json golden = described(LORA_SOURCE_DIR "/tests/golden/quant-q4_k.safetensors");
  EXPECT_EQ(golden["format"], "safetensors");
  EXPECT_TRUE(golden["version"].is_null());
  std::set<std::string> names;
  for (const json& tensor : golden["tensors"]) names.insert(tensor["name"].get<std::string>());
  EXPECT_EQ(names, (std::set<std::string>{"raw", "values"}));
}

TEST_F(Inspect, DescribesAVocabulary) {
  write_vocabulary(folder.at("vocabulary.gguf"));
  const json vocabulary = described("vocabulary.gguf");
  EXPECT_TRUE(vocabulary["tensors"].empty());
  EXPECT_TRUE(vocabulary["bits_per_weight"].is_null());
}

// Beside the values as they are in memory, no copy of them as JSON.
TEST_F(Inspect, MillionsOfElementsTakeNoMoreMemoryThanTheFile) {
  GgufWriter writer;
  writer.set_string("general.architecture", "llama");
  writer.set_strings("many", std::vector<std::string>(2'000'000));
  writer.write(folder.at("many.gguf"));
  const RunResult run = folder.lora({"inspect", "--json", "many.gguf"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(parse_json(run.out)["metadata"]["many"].size(), 2'000'000u);
  if (!LORA_INSTRUMENTED) {
    EXPECT_LT(run.peak_bytes, int64_t{150} << 20);
  }
  EXPECT_THAT(folder.lora({"inspect", "many.gguf"}).out,
              testing::HasSubstr(R"(string[2000000]  ["", "", "", "", "", "", ...])"));
}

}  // namespace inspect_test
}  // namespace lora::test
