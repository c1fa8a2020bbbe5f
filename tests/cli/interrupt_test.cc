// Ctrl-C and its relatives: the work is saved, the status says why, and the run goes on as if nothing had
// been.
#include <signal.h>

#include <map>

#include "cli_test.h"

namespace lora::test {
namespace {

using Args = std::vector<std::string>;

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

INSTANTIATE_TEST_SUITE_P(Signals, Interrupt, testing::Values(SIGINT, SIGTERM, SIGHUP));

TEST(InterruptGenerate, EndsTheTextAndSaysSo) {
  const Folder folder;
  // Said before the first token: the signal arrives while text is generated.
  const RunResult run =
      folder.lora({"generate", "-m", "model.gguf", "-p", "The", "-c", "2000", "--ignore-eos"},
                  signal_at(SIGINT, "warning: a context of 2000"));
  EXPECT_EQ(run.status, 130) << run.err;
  EXPECT_THAT(run.out, testing::StartsWith("The"));
  EXPECT_THAT(run.err, testing::HasSubstr("ended: stopped by a signal"));
}

// Between any two calls that change files: what was written so far is gone, or is there whole.
TEST(InterruptAnyCommand, LeavesNothingHalfWritten) {
  Folder folder;
  folder.write("text.txt", ship_sentences());
  ASSERT_EQ(
      folder.lora(kFinetune + Args{"--lora-out", "l.gguf", "--checkpoint-out", "", "--metrics", "m"}).status,
      0);
  const std::set<std::string> before = folder.names();
  for (const auto& [command, output] :
       {std::pair<Args, std::string>{{"plot", "m", "-o", "o.svg"}, "o.svg"},
        {{"convert-lora", "l.gguf", "--base", "model.gguf", "--outfile", "o.gguf"}, "o.gguf"},
        {{"convert-lora", "l.gguf", "--base", "model.gguf", "--to-peft", "o"}, "o"},
        {{"quantize", "--allow-requantize", "model.gguf", "o.gguf", "q4_0", "1"}, "o.gguf"},
        {{"export-lora", "-m", "model.gguf", "--lora", "l.gguf", "-o", "o.gguf", "-t", "1"}, "o.gguf"}}) {
    SCOPED_TRACE(testing::PrintToString(command));
    const auto run = [&](int at) {
      return folder.lora(command, {.environment = {{"LD_PRELOAD", KILL_AT},
                                                   {"LORA_KILL_COUNT", folder.at("n")},
                                                   {"LORA_KILL_SIGNAL", std::to_string(SIGINT)},
                                                   {"LORA_KILL_AT", std::to_string(at)}}});
    };
    const auto contents = [&] {
      std::map<std::string, std::string> files;
      for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path)) {
        const std::string name = entry.path().string().substr(folder.path.size() + 1);
        if (!before.contains(name) && name != "n")
          files[name] = entry.is_directory() ? "" : folder.read(name);
      }
      return files;
    };
    const RunResult whole = run(0);
    ASSERT_EQ(whole.status, 0) << whole.err;
    const auto expected = contents();
    ASSERT_TRUE(expected.contains(output));
    const int n_calls = std::atoi(folder.read("n").c_str());
    ASSERT_GT(n_calls, 3);
    int n_without = 0;
    for (int at = 1; at <= n_calls; at += std::max(1, n_calls / 20)) {
      std::filesystem::remove_all(folder.at(output));
      const RunResult stopped = run(at);
      EXPECT_TRUE(stopped.status == 130 || stopped.status == 0)
          << at << ": " << stopped.status << stopped.err;
      const auto found = contents();
      n_without += found.empty();
      EXPECT_TRUE(found.empty() || found == expected) << at << ": " << testing::PrintToString(folder.names());
    }
    EXPECT_GT(n_without, 0);
    std::filesystem::remove_all(folder.at(output));
  }
}

}  // namespace
}  // namespace lora::test
