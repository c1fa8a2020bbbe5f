// What the commands do to files that are there already.
#include "cli_test.h"

namespace lora::test {
namespace files_test {

using Args = std::vector<std::string>;

class OutputFiles : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override { folder.write("text.txt", ship_sentences()); }
};

TEST_F(OutputFiles, MetricsCutAwayNothingButMetrics) {
  const Args run = kFinetune + Args{"--lora-out", "", "--checkpoint-out", "", "--metrics", "m"};
  for (const char* text : {"Once upon a time.\n", "{\"text\": \"a record\"}\n", "{\"iter\":\"no number\"}\n",
                           "{\"iter", "\n", "\n{\"iter\":1,", "{", "x"}) {
    folder.write("m", text);
    const RunResult refused = folder.lora(run);
    const bool cut_short = text == std::string("{\"iter") || text == std::string("{");
    if (cut_short) {  // the beginning of a line
      EXPECT_EQ(refused.status, 0) << refused.err;
    } else {
      expect_error(refused, 1, "--metrics: m: does not begin with a line of metrics");
      EXPECT_EQ(folder.read("m"), text);
    }
  }
  folder.write("m", "");
  EXPECT_EQ(folder.lora(run).status, 0);
  EXPECT_EQ(folder.lora(run).status, 0);
  EXPECT_EQ(lines_of(folder.read("m")).size(), 2u);
}

TEST_F(OutputFiles, OnlyWriteLoraReplacesNoInput) {
  ASSERT_EQ(folder.lora(kFinetune + Args{"--checkpoint-out", "c.gguf", "--lora-out", ""}).status, 0);
  std::filesystem::remove(folder.at("model.gguf"));
  std::filesystem::copy_file(kBundledModel, folder.at("model.gguf"));
  const std::string model = folder.read("model.gguf"), checkpoint = folder.read("c.gguf");
  for (const char* out : {"model.gguf", "./c.gguf"}) {
    expect_error(folder.lora({"finetune", "-m", "model.gguf", "--checkpoint-in", "c.gguf",
                              "--only-write-lora", "--lora-out", out}),
                 1, "--lora-out: ");
    EXPECT_EQ(folder.read("model.gguf") == model && folder.read("c.gguf") == checkpoint, true) << out;
  }
}

}  // namespace files_test
}  // namespace lora::test
