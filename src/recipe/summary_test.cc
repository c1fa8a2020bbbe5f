#include "recipe/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/path.h"
#include "base/process.h"

namespace lora {
namespace summary_test {

using testing::HasSubstr;
using testing::Not;

Summary summary() {
  Summary s{
      .name = "out/my", .model = "m.gguf", .adapter = "out/my.gguf", .command = "lora train m.gguf d.txt"};
  s.result.iterations = 90;
  s.result.why = "iteration 90 was reached";
  s.result.best_path = "out/my.gguf";
  s.result.evaluations = {.before = 3,
                          .best = 2,
                          .last = 2.5,
                          .best_iteration = 40,
                          .last_iteration = 90,
                          .sample_before = "and then\nno more",
                          .sample_best = "the sea"};
  s.result.sample_prompt = "Once";
  return s;
}

TEST(Summary, TheHandoverSaysHowGoodItBecameAndHowToUseIt) {
  const std::string text = markdown(summary());
  EXPECT_THAT(text, HasSubstr("| before training | 3.0000 | 20.09 |"));
  EXPECT_THAT(text, HasSubstr("| best, iteration 40 | 2.0000 | 7.39 |"));
  EXPECT_THAT(text, HasSubstr("| last, iteration 90 | 2.5000 | 12.18 |"));
  EXPECT_THAT(text, HasSubstr("surprises it a third less"));
  EXPECT_THAT(text, HasSubstr("after iteration 40 it learned the samples by heart"));
  EXPECT_THAT(text, HasSubstr("    and then\n    no more\n"));
  EXPECT_THAT(text, HasSubstr("    the sea\n"));
  EXPECT_THAT(text, HasSubstr("`llama-cli -m m.gguf --lora out/my.gguf`"));
  EXPECT_THAT(text, HasSubstr("`my.toml` has the settings"));
  EXPECT_THAT(text, Not(HasSubstr("![")));
}

TEST(Summary, WithoutHeldOutSamplesItSaysSo) {
  Summary s = summary();
  s.result.evaluations = {};
  EXPECT_THAT(markdown(s), HasSubstr("No samples were held out"));
}

TEST(Summary, ConversationsAreAskedInConversations) {
  EXPECT_THAT(uses_of("m", "a", {true}, "")[0].command, testing::EndsWith(" --chat"));
  EXPECT_THAT(uses_of("m", "a", {true, "vicuna"}, "")[0].command,
              testing::EndsWith(" --chat --chat-template vicuna"));
  EXPECT_THAT(uses_of("m", "a", {}, "")[0].command, Not(HasSubstr("--chat")));
}

TEST(Summary, InstructionsAreAskedInAlpacasWords) {
  FinetuneOptions options;
  FinetuneResult result;
  options.chat_template = "chatml";
  EXPECT_FALSE(conversations_of(options, result).any);
  result.chat_templates = {"alpaca"};
  EXPECT_EQ(conversations_of(options, result).chat_template, "alpaca");
  result.chat_templates = {"alpaca", "chatml"};
  EXPECT_EQ(conversations_of(options, result).chat_template, "chatml");
}

TEST(Summary, OllamaGetsWholePaths) {
  // Paths and quotes are the system's.
  const std::string m = absolute_path("/x/m.gguf"), a = absolute_path("/y/a b.gguf");
  const std::string here = absolute_path("m.gguf");
  EXPECT_GT(here.size(), std::string("/m.gguf").size());
  EXPECT_THAT(modelfile_of("m.gguf", "a.gguf"), testing::StartsWith("FROM " + here + "\n"));
  EXPECT_EQ(modelfile_of("/x/m.gguf", "/x/../y/a b.gguf"), "FROM " + m + "\nADAPTER " + a + "\n");
  EXPECT_THAT(uses_of("/x/m.gguf", "/y/a b.gguf", {}, "")[3].note, "its lines: FROM " + m + ";ADAPTER " + a);
  EXPECT_THAT(uses_of("/x/m.gguf", "/x/a b.gguf", {}, "n.Modelfile")[3].command,
              "ollama create " + shell_word("a b") + " -f n.Modelfile");
  EXPECT_THAT(uses_of("/x/m.gguf", "/x/a b.gguf", {}, "")[4].command,
              "lora export-lora --model-base /x/m.gguf --lora " + shell_word("/x/a b.gguf") +
                  " --model-out " + shell_word("/x/a b-merged.gguf"));
}

}  // namespace summary_test
}  // namespace lora
