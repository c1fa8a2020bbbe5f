// Ctrl-C and its relatives: the work is saved, the status says why, and the run goes on as if nothing had
// been.

#include "cli_test.h"

namespace lora::test {
namespace interrupt_test {

using Args = std::vector<std::string>;

const std::vector<int> kSignals =
    is_posix() ? std::vector{kInterrupt, kTerminate, kHangUp} : std::vector{kInterrupt};

class Interrupt : public testing::TestWithParam<int> {};

// Sends the signal once stderr holds `mark`.
RunOptions signal_at(int number, const std::string& mark) {
  RunOptions options;
  options.signal_on = [=](std::string_view err) { return err.find(mark) == err.npos ? 0 : number; };
  return options;
}

TEST_P(Interrupt, SavesAndResumesToTheSameBytes) {
  const Folder folder;
  folder.write("text.txt", ship_sentences());
  const Args flags = kFinetune + Args{"--lora-out",       "lora-ITERATION.gguf",
                                      "--checkpoint-out", "c-ITERATION.gguf",
                                      "--metrics",        "m.jsonl",
                                      "--save-every",     "0",
                                      "--adam-iter",      "30"};
  ASSERT_EQ(folder.lora(flags).status, 0);
  const std::string lora = folder.read("lora-LATEST.gguf"), checkpoint = folder.read("c-LATEST.gguf");
  const std::set<std::string> names = folder.names();

  const RunResult stopped = folder.lora(flags, signal_at(GetParam(), "iter=     2 "));
  EXPECT_EQ(stopped.status, 128 + GetParam()) << stopped.err;
  EXPECT_THAT(stopped.err, testing::HasSubstr("stopping: the iteration in work is finished or dropped"));
  EXPECT_THAT(stopped.err, testing::HasSubstr("it was asked to stop"));
  EXPECT_THAT(stopped.err, testing::Not(testing::HasSubstr("error: ")));
  EXPECT_THAT(stopped.err,
              testing::EndsWith("checkpoint: c-LATEST.gguf\nadapter: lora-LATEST.gguf\n"
                                "to go on: the same command with --checkpoint-in c-LATEST.gguf\n"));
  ASSERT_NE(folder.read("lora-LATEST.gguf"), lora);
  const size_t done = lines_of(folder.read("m.jsonl")).size();
  ASSERT_GE(done, 2u);
  ASSERT_LT(done, 30u);
  EXPECT_TRUE(folder.has("c-" + std::to_string(done) + ".gguf"));

  const RunResult resumed = folder.lora(flags + Args{"--checkpoint-in", "c-LATEST.gguf"});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_EQ(folder.read("lora-LATEST.gguf"), lora);
  EXPECT_EQ(folder.read("c-LATEST.gguf"), checkpoint);
  EXPECT_EQ(lines_of(folder.read("m.jsonl")).size(), 30u);
  for (const std::string& name : folder.names()) {
    if (name.ends_with(".tmp")) ADD_FAILURE() << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Signals, Interrupt, testing::ValuesIn(kSignals));

TEST(InterruptGenerate, EndsTheTextAndSaysSo) {
  const Folder folder;
  // Said before the first token: the signal arrives while text is generated.
  const RunResult run =
      folder.lora({"generate", "-m", "model.gguf", "-p", "The", "-c", "2000", "--ignore-eos"},
                  signal_at(kInterrupt, "warning: a context of 2000"));
  EXPECT_EQ(run.status, 130) << run.err;
  EXPECT_THAT(run.out, testing::StartsWith("The"));
  EXPECT_THAT(run.err, testing::HasSubstr("ended: stopped by a signal"));
}

}  // namespace interrupt_test
}  // namespace lora::test
