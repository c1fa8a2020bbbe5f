// What `lora generate` prints, and what its adapters and flags change of it.

#include <cmath>

#include "base/regex_test_util.h"
#include "cli_test.h"

namespace lora::test {
namespace generate_test {

using Args = std::vector<std::string>;

const std::string kPrompt = "The ship number 7 sailed";

class Generate : public testing::Test {
 protected:
  // ships.gguf and lines.gguf: two adapters, each trained on a text of its own.
  static void SetUpTestSuite() {
    folder = new Folder;
    folder->write("text.txt", ship_sentences());
    folder->write("other.txt", ship_sentences("<s>Once upon a time, in the woods: "));
    train("ships.gguf", {});
    train("other.gguf", {"--train-data", "other.txt", "--lora-r", "2"});
  }
  static void TearDownTestSuite() {
    delete folder;
    folder = nullptr;
  }
  static void train(const std::string& name, const Args& flags) {
    const RunResult run = folder->lora(kFinetune +
                                       Args{"--adam-iter", "40", "--warmup", "5", "--adam-alpha", "0.01",
                                            "--lora-out", name, "--checkpoint-out", ""} +
                                       flags);
    ASSERT_EQ(run.status, 0) << run.err;
  }

  static RunResult run(const Args& flags) {
    const RunResult result =
        folder->lora(Args{"generate", "-m", "model.gguf", "-p", kPrompt, "-n", "12", "--temp", "0"} + flags);
    EXPECT_EQ(result.status, 0) << result.err;
    return result;
  }
  static std::string text(const Args& flags) { return run(flags).out; }

  static Folder* folder;
};
Folder* Generate::folder = nullptr;

TEST_F(Generate, StdoutIsThePromptAndItsContinuationAndNothingElse) {
  const std::string with_prompt = text({}), alone = text({"--no-echo"});
  EXPECT_EQ(with_prompt, kPrompt + alone);
  EXPECT_GT(alone.size(), 12u);
  EXPECT_EQ(text({"-n", "0"}), kPrompt);
  EXPECT_EQ(text({"-n", "0", "--no-echo"}), "");
}

TEST_F(Generate, SaysRatesAndCountsOnStderr) {
  EXPECT_THAT(
      run({"--ignore-eos"}).err,
      matches_regex("prompt: [0-9]+ tokens, [0-9.]+ tokens/s; generated: 12 tokens, [0-9.]+ tokens/s; "
                    "seed [0-9]+; ended: as many tokens as asked for\n"));
}

// Where both go to one file, the rates are in a line of their own, and a text that ends its line gets no
// more.
TEST_F(Generate, TheRatesDoNotFollowTheTextInItsLine) {
  if (!is_posix()) GTEST_SKIP() << "only POSIX has what it needs";
  const auto both = [&](const std::string& prompt) {
    const RunResult result = run_program({"/bin/sh", "-c", "exec \"$0\" \"$@\" > both.txt 2>&1", LORA_PROGRAM,
                                          "generate", "-m", "model.gguf", "-p", prompt, "-n", "0"},
                                         {.directory = folder->path});
    EXPECT_EQ(result.status, 0);
    return folder->read("both.txt");
  };
  EXPECT_THAT(both("The ship"), testing::StartsWith("The ship\nprompt: "));
  EXPECT_THAT(both("The ship\n"), testing::StartsWith("The ship\nprompt: "));
}

TEST_F(Generate, APromptFileIsReadWithoutItsLastLineFeed) {
  folder->write("prompt.txt", kPrompt + "\n");
  const RunResult from_file =
      folder->lora({"generate", "-m", "model.gguf", "-f", "prompt.txt", "-n", "12", "--temp", "0"});
  EXPECT_EQ(from_file.out, text({}));
  folder->write("prompt.txt", "\xef\xbb\xbf" + kPrompt + "\r\n");
  EXPECT_EQ(folder->lora({"generate", "-m", "model.gguf", "-f", "prompt.txt", "-n", "12", "--temp", "0"}).out,
            from_file.out)
      << "of Windows";
}

TEST_F(Generate, GreedyTextIsTheSameEachTimeWhateverTheSeedAndThreads) {
  const std::string want = text({"--seed", "1"});
  EXPECT_EQ(text({"--seed", "2"}), want);
  EXPECT_EQ(text({"--threads", "1"}), want);
  EXPECT_EQ(text({"--threads", "2"}), want);
}

TEST_F(Generate, OneSeedOneText) {
  const Args hot = {"--temp",  "1.5", "--top-k", "0",  "--top-p",     "1",
                    "--min-p", "0",   "-n",      "24", "--ignore-eos"};
  const std::string want = text(hot + Args{"-s", "3"});
  EXPECT_EQ(text(hot + Args{"-s", "3", "--threads", "1"}), want);
  EXPECT_NE(text(hot + Args{"-s", "4"}), want);
}

TEST_F(Generate, AnAdapterChangesTheTextAndAScaleOfZeroDoesNot) {
  const std::string base = text({});
  EXPECT_NE(text({"--lora", "ships.gguf"}), base);
  EXPECT_THAT(text({"--lora", "ships.gguf"}), testing::HasSubstr("miles north."));
  EXPECT_EQ(text({"--lora-scaled", "ships.gguf", "0"}), base);
  EXPECT_EQ(text({"--lora-scaled", "ships.gguf", "0", "--lora-scaled", "other.gguf", "0"}), base);
  EXPECT_EQ(text({"--lora-scaled", "ships.gguf", "1"}), text({"--lora", "ships.gguf"}));
  EXPECT_EQ(text({"--lora-scaled", "ships.gguf:1"}), text({"--lora", "ships.gguf"}));
  EXPECT_EQ(text({"--lora-scaled", "ships.gguf:0,other.gguf:0"}), base);
}

double perplexity(const Folder& folder, const Args& flags) {
  const RunResult run =
      folder.lora(Args{"eval", "-m", "model.gguf", "-f", "text.txt", "--precision", "f32"} + flags);
  EXPECT_EQ(run.status, 0) << run.err;
  return std::stod(run.out.substr(run.out.find("perplexity") + 10));
}

TEST_F(Generate, SeveralAdaptersAddUp) {
  const Args ships = {"--lora", "ships.gguf"}, other = {"--lora", "other.gguf"};
  const double both = perplexity(*folder, ships + other);
  EXPECT_NEAR(perplexity(*folder, other + ships), both, 1e-4 * both);
  EXPECT_NE(perplexity(*folder, ships), both);
  EXPECT_NE(perplexity(*folder, other), both);
  // Twice an adapter is the adapter at scale 2.
  const double twice = perplexity(*folder, ships + ships);
  EXPECT_NEAR(perplexity(*folder, {"--lora-scaled", "ships.gguf", "2"}), twice, 1e-4 * twice);
  EXPECT_NEAR(perplexity(*folder, {"--lora-scaled", "ships.gguf", "0"}), perplexity(*folder, {}), 0);
}

TEST_F(Generate, EndsBeforeAStopText) {
  const Args ships = {"--lora", "ships.gguf", "-n", "40"};
  const std::string whole = text(ships);
  const size_t stop = whole.find(" miles");
  ASSERT_NE(stop, whole.npos);
  const RunResult stopped = run(ships + Args{"--stop", "never said", "--stop", " miles"});
  EXPECT_EQ(stopped.out, whole.substr(0, stop));
  EXPECT_THAT(stopped.err, testing::HasSubstr("ended: a stop text came up"));
}

TEST_F(Generate, IgnoreEosGoesOnWhereTheModelEndsTheText) {
  const Args ships = {"--lora", "ships.gguf", "-n", "48"};
  const RunResult ended = run(ships), on = run(ships + Args{"--ignore-eos"});
  ASSERT_THAT(ended.err, testing::HasSubstr("ended: the model ended the text"));
  EXPECT_THAT(on.err, testing::HasSubstr("generated: 48 tokens"));
  EXPECT_THAT(on.out, testing::StartsWith(ended.out));
  EXPECT_GT(on.out.size(), ended.out.size());
}

TEST_F(Generate, EndsWhereTheContextIsFull) {
  const RunResult full = run({"-c", "16", "-n", "-1", "--ignore-eos"});
  EXPECT_THAT(full.err, testing::HasSubstr("ended: the context is full"));
  EXPECT_THAT(text({"-n", "48", "--ignore-eos"}), testing::StartsWith(full.out));
}

TEST_F(Generate, AContextBeyondTheModelsOwnIsSaidAloud) {
  EXPECT_THAT(
      run({"-c", "600"}).err,
      testing::HasSubstr("warning: a context of 600 is beyond the 512 tokens the model was trained with"));
}

TEST_F(Generate, BytesThatAreNoUtf8ComeBackAsTheyWere) {
  const std::string bytes = "(\xff\xfe";
  folder->write("bytes.txt", bytes);
  const RunResult from_file = folder->lora({"generate", "-m", "model.gguf", "-f", "bytes.txt", "-n", "2"});
  EXPECT_THAT(from_file.out, testing::StartsWith(bytes));
  if (is_posix()) {  // what Windows hands to a program is UTF-16
    EXPECT_THAT(text({"-p", bytes}), testing::StartsWith(bytes));
  }
}

TEST_F(Generate, DamagedWeightsAreAnErrorThatNamesTheModel) {
  write_edited_model(folder->at("nan.gguf"), {.edit_data = [](const std::string& name, std::string& data) {
                       const float nan = std::nanf("");
                       if (name == "output_norm.weight")
                         data.replace(0, 4, reinterpret_cast<const char*>(&nan), 4);
                     }});
  const RunResult damaged =
      folder->lora({"generate", "-m", "nan.gguf", "-p", kPrompt, "-n", "2", "--no-echo"});
  expect_error(damaged, 1, "nan.gguf: logits: nan");
}

TEST_F(Generate, CtrlCStopsALongPrompt) {
  std::string prompt;
  for (int i = 0; i < 3000; ++i) prompt += kPrompt + ". ";
  folder->write("long.txt", prompt);
  RunOptions options;
  options.signal_on = [](std::string_view err) { return err.empty() ? 0 : kInterrupt; };
  const RunResult run =
      folder->lora({"generate", "-m", "model.gguf", "-f", "long.txt", "-c", "100000", "--no-echo"}, options);
  EXPECT_EQ(run.status, 130) << run.err;
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, testing::HasSubstr("generated: 0 tokens"));
  EXPECT_THAT(run.err, testing::EndsWith("ended: stopped by a signal\n"));
}

class GenerateChat : public Generate {
 protected:
  static RunResult chat(const std::string& input, const Args& flags = {}) {
    RunOptions options;
    options.input = input;
    return folder->lora(kChat + flags, options);
  }
  // What the model says after this text.
  static std::string continued(const std::string& prompt) {
    return text({"-p", prompt, "--no-echo", "--precision", "f32"});
  }

  static inline const Args kChat = {"generate", "-m", "model.gguf", "--chat", "--chat-template", "alpaca",
                                    "-n",       "12", "--temp",     "0",      "--precision",     "f32"};
};

TEST_F(GenerateChat, EachLineIsAnsweredInTheLightOfThoseBefore) {
  const std::string begin =
      "Below is an instruction that describes a task. Write a response that appropriately completes the "
      "request.\n\n### Instruction:\nTell me of the whale.\n\n### Response:\n";
  const std::string first = continued(begin);
  const std::string second =
      continued(begin + first + "</s>\n\n### Instruction:\nAnd the ship?\n\n### Response:\n");
  const RunResult run = chat("Tell me of the whale.\n\nAnd the ship?\n");
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(run.out, first + "\n" + second + "\n");
  EXPECT_GT(first.size(), 10u);
  EXPECT_THAT(run.err, testing::HasSubstr("generated: 24 tokens"));
  EXPECT_THAT(run.err, testing::EndsWith("ended: end of the input\n"));
  EXPECT_EQ(chat("And the ship?", {"-p", "Tell me of the whale."}).out, run.out);
  EXPECT_EQ(chat("\xef\xbb\xbfTell me of the whale.\r\n\r\nAnd the ship?\r\n").out, run.out)
      << "as Windows pipes it";
}

TEST_F(GenerateChat, AReplyThatAStopTextEndsIsKeptWithoutIt) {
  const std::string whole = chat("Tell me of the whale.\n").out;
  const std::string stop = whole.substr(8, 6);
  const RunResult run = chat("Tell me of the whale.\nAnd the ship?\n", {"--stop", stop});
  const std::string first = whole.substr(0, whole.find(stop));
  EXPECT_THAT(run.out, testing::StartsWith(first + "\n"));
  EXPECT_EQ(run.out.find(stop), run.out.npos);
  EXPECT_EQ(run.status, 0) << run.err;
}

TEST_F(GenerateChat, AMessageOfALineEndIsAMessage) {
  const RunResult run = chat("", {"-p", "\n"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, testing::EndsWith("ended: end of the input\n"));
}

TEST_F(GenerateChat, EndsWhereTheContextIsFull) {
  const RunResult run = chat("Tell me of the whale.\nAnd the ship?\nAnd the sea?\n", {"-c", "80"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, testing::EndsWith("ended: the context is full\n"));
}

TEST_F(GenerateChat, CtrlCStopsTheReply) {
  RunOptions options;
  options.input = "Tell me of the whale.\n";
  options.signal_on = [](std::string_view err) { return err.empty() ? 0 : kInterrupt; };
  // The warning comes before the first reply, which does not end by itself.
  const RunResult run = folder->lora(kChat + Args{"-c", "4000", "-n", "-1", "--ignore-eos"}, options);
  EXPECT_EQ(run.status, 130) << run.err;
  EXPECT_THAT(run.err, testing::EndsWith("ended: stopped by a signal\n"));
}

TEST_F(GenerateChat, AModelWithoutAKnownTemplateNeedsTheFlag) {
  expect_error(chat("Hello\n", {"--chat-template", "auto"}), 1, "model.gguf: the model has no chat template");
  expect_error(chat("Hello\n", {"--chat-template", "none"}), 1,
               "--chat-template: no template 'none'; known are auto, ");
}

}  // namespace generate_test
}  // namespace lora::test
