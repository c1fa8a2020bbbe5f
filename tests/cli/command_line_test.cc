// The program from outside: what every command does with its arguments, whatever it works on.
#include "base/regex_test_util.h"
#include "cli_test.h"

namespace lora::test {
namespace command_line_test {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

const char* const kCommands[] = {"finetune", "generate", "eval", "inspect", "tokenize", "bench"};

// An error before any work: stdout empty, nothing else on stderr.
void expect_only_error(const RunResult& run, int status, const std::string& what) {
  expect_error(run, status, what);
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(run.err.find('\n'), run.err.size() - 1) << run.err;
}

TEST(CommandLine, HelpListsTheCommands) {
  const RunResult run = lora({"--help"});
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(run.err, "");
  for (const char* command : kCommands) EXPECT_THAT(run.out, HasSubstr(std::string("\n  ") + command));
}

TEST(CommandLine, EachCommandHasAHelpPage) {
  for (const char* command : kCommands) {
    const RunResult run = lora({command, "--help"});
    EXPECT_EQ(run.status, 0);
    EXPECT_EQ(run.err, "");
    EXPECT_THAT(run.out, StartsWith(std::string("usage: lora ") + command));
    EXPECT_THAT(run.out, HasSubstr("--config FILE"));
  }
}

TEST(CommandLine, HelpAllIsTheWholePageOfEveryCommand) {
  for (const char* command : {"finetune", "estimate", "generate", "eval", "inspect", "tokenize", "bench"}) {
    const std::string page = lora({command, "--help"}).out;
    const RunResult all = lora({command, "--help-all"});
    EXPECT_EQ(all.status, 0) << all.err;
    const bool has_more = command == std::string("finetune") || command == std::string("estimate");
    EXPECT_EQ(page.find("--help-all") != page.npos, has_more) << command;
    EXPECT_EQ(all.out != page, has_more) << command;
    EXPECT_EQ(all.out.find("--rank-out-norm N") != page.npos, has_more) << command;
  }
}

TEST(CommandLine, VersionIsOneLine) {
  const RunResult run = lora({"--version"});
  EXPECT_EQ(run.status, 0);
  EXPECT_THAT(run.out, matches_regex("lora [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST(CommandLine, VerboseVersionNamesTheKernelSets) {
  const RunResult run = lora({"--version", "-v"}, {.environment = {{"LORA_ISA", "scalar"}}});
  EXPECT_EQ(run.status, 0);
  EXPECT_THAT(run.out, HasSubstr("kernel sets built: scalar"));
  EXPECT_THAT(run.out, HasSubstr("kernel sets supported by this machine: scalar"));
  EXPECT_THAT(run.out, EndsWith("kernel set in use: scalar\n"));
}

TEST(CommandLine, UnsupportedKernelSetIsAnError) {
  expect_only_error(lora({"--version", "-v"}, {.environment = {{"LORA_ISA", "abacus"}}}), 1,
                    "LORA_ISA=abacus");
}

TEST(CommandLine, NoCommandIsWrongUsage) {
  expect_only_error(lora({}), 2, "lora --help");
}

TEST(CommandLine, UnknownCommandNamesTheNearest) {
  expect_only_error(lora({"finetnue"}), 2, "finetnue: unknown command; did you mean finetune?");
}

TEST(CommandLine, WordsOfOtherProgramsGetAnAnswer) {
  const std::vector<std::pair<std::string, std::string>> answers = {
      {"run", "did you mean generate"},
      {"serve", "there is no server here; llama-server"},
      {"convert_hf_to_gguf", "did you mean convert?"},
      {"frobnicate", "lora --help lists those"},
  };
  for (const auto& [word, answer] : answers)
    expect_only_error(lora({word}), 2, word + ": unknown command; " + answer);
}

TEST(CommandLine, CommandsHaveTheirOtherNames) {
  const std::vector<std::pair<std::string, std::string>> names = {
      {"merge", "export-lora"}, {"perplexity", "eval"}, {"chat", "generate"}, {"main", "generate"}};
  for (const auto& [name, command] : names) {
    EXPECT_THAT(lora({name, "--help"}).out, StartsWith("usage: lora " + command));
    EXPECT_EQ(lora({"help", name}).out, lora({command, "--help"}).out);
  }
  EXPECT_EQ(lora({"help"}).out, lora({"--help"}).out);
  EXPECT_EQ(lora({"version"}).out, lora({"--version"}).out);
}

TEST(CommandLine, StartedUnderACommandsNameItIsThatCommand) {
  const Folder folder;
  for (const auto& [name, command] :
       std::vector<std::pair<std::string, std::string>>{{"finetune", "finetune"},
                                                        {"main", "generate"},
                                                        {"perplexity", "eval"},
                                                        {"quantize", "quantize"},
                                                        {"export-lora", "export-lora"},
                                                        {"finetune.exe", "finetune"},
                                                        {"Quantize.EXE", "quantize"}}) {
    std::error_code no_links;
    std::filesystem::create_symlink(LORA_PROGRAM, folder.at(name), no_links);
    if (no_links) std::filesystem::copy_file(LORA_PROGRAM, folder.at(name));
    const RunResult run = run_program({folder.at(name), "--help"});
    EXPECT_THAT(run.out, StartsWith("usage: lora " + command)) << run.err;
  }
}

TEST(CommandLine, UnknownTopLevelFlagNamesTheNearest) {
  expect_only_error(lora({"--verison"}), 2, "--verison: unknown flag; did you mean --version?");
}

TEST(CommandLine, UnknownFlagNamesTheNearest) {
  for (const char* command : kCommands) {
    expect_only_error(lora({command, "--hlep"}), 2, "--hlep: unknown flag; did you mean --help?");
  }
}

TEST(CommandLine, BadValueNamesFlagAndRange) {
  expect_only_error(lora({"finetune", "-m", "x.gguf", "--ctx", "12abc"}), 2,
                    "--ctx: expected a whole number from 1 to 2147483647, found '12abc'");
  expect_only_error(lora({"generate", "-m", "x.gguf", "-p", "a", "-c", "-5"}), 2, "--ctx-size: expected");
  expect_only_error(lora({"generate", "-m", "x.gguf", "-p", "a", "--precision", "int8"}), 2,
                    "--precision: expected f32, bf16 or auto");
}

TEST(CommandLine, RequiredFlagsAreAskedFor) {
  expect_only_error(lora({"finetune"}), 2, "--model-base: required");
  expect_only_error(lora({"generate", "-p", "a"}), 2, "--model: required");
  expect_only_error(lora({"generate", "-m", "x.gguf"}), 2, "--prompt: required");
  expect_only_error(lora({"inspect"}), 2, "FILE: required");
}

TEST(CommandLine, FlagsThatExcludeEachOtherAreRefused) {
  expect_only_error(lora({"finetune", "-m", "x.gguf", "--epochs", "2", "--adam-iter", "5"}), 2,
                    "--epochs: not together with");
  expect_only_error(lora({"eval", "-m", "x.gguf", "-p", "a", "-f", "b"}), 2,
                    "--prompt: not together with --file");
}

TEST(CommandLine, MissingFilesFailTheWork) {
  expect_only_error(lora({"inspect", "/nonexistent/x.gguf"}), 1, "/nonexistent/x.gguf");
  expect_only_error(lora({"tokenize", "-m", "/nonexistent/x.gguf", "-p", "a"}), 1, "/nonexistent/x.gguf");
  expect_only_error(lora({"generate", "-m", "x.gguf", "-f", "/nonexistent/prompt.txt"}), 1,
                    "/nonexistent/prompt.txt");
  expect_only_error(lora({"finetune", "--config", "/nonexistent/lora.toml"}), 1, "/nonexistent/lora.toml");
}

TEST(CommandLine, AFileNameWithALineFeedStillMakesOneLine) {
  expect_only_error(lora({"inspect", "/nonexistent/a\nb"}), 1, "/nonexistent/a");
}

TEST(CommandLine, FullOutputIsAnError) {
  if (!is_posix()) GTEST_SKIP() << "only POSIX has what it needs";
  const RunResult run = run_program({"/bin/sh", "-c", "exec \"$0\" --help > /dev/full", LORA_PROGRAM});
  expect_only_error(run, 1, "standard output: cannot be written");
}

}  // namespace command_line_test
}  // namespace lora::test
