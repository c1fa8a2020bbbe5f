// Flags from a file, and the names and scales of adapters from anywhere.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <set>

#include "base/error.h"
#include "base/machine.h"
#include "cli/aliases.h"
#include "cli/finetune_flags.h"
#include "cli/help.h"
#include "cli/parse_test_util.h"

namespace lora::cli {
namespace config_file_test {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using namespace test;

TEST(ParseFlags, ScaledLoraTakesTwoValuesEachTime) {
  std::vector<LoraFile> loras;
  const CommandLine line = {"x",
                            "",
                            "",
                            {{"",
                              {{"--lora", "FILE", "", "", lora_file(loras)},
                               {"--lora-scaled", "FILE:SCALE", "", "", scaled_lora_file(loras)}}}}};
  parse_flags(line, {"--lora-scaled", "a", "-0.5", "--lora", "b", "--lora-scaled", "c", "2"});
  ASSERT_EQ(loras.size(), 3u);
  EXPECT_EQ(loras[0].path, "a");
  EXPECT_EQ(loras[0].scale, -0.5);
  EXPECT_EQ(loras[1].path, "b");
  EXPECT_EQ(loras[2].scale, 2);
  EXPECT_THROW(parse_flags(line, {"--lora-scaled", "a"}), UsageError);
  EXPECT_THROW(parse_flags(line, {"--lora-scaled", "a", "much"}), UsageError);
  loras.clear();
  try {
    parse_flags(line, {"--lora-scaled", "a", "--lora", "b"});
    ADD_FAILURE();
  } catch (const UsageError& e) {
    EXPECT_THAT(e.what(), testing::StartsWith("--lora-scaled: "));
  }
}

TEST(ParseFlags, ScaledLoraInOneValueAsLlamaCppTakesIt) {
  const std::string flag = "--lora-scaled";
  EXPECT_EQ(scaled({flag, "a.gguf:0.5"}), "[a.gguf x 0.5]");
  EXPECT_EQ(scaled({flag + "=a.gguf:-2"}), "[a.gguf x -2]");
  EXPECT_EQ(scaled({flag, "a.gguf:+0.5", flag, "b", "+2"}), "[a.gguf x 0.5][b x 2]");
  EXPECT_EQ(scaled({flag, "a:0.5", flag, "b", "2", flag, "c:1e-1"}), "[a x 0.5][b x 2][c x 0.1]");
  EXPECT_EQ(scaled({flag, "a:0.5,b:2"}), "[a x 0.5][b x 2]");
  EXPECT_EQ(scaled({flag, "C:\\x.gguf:0.5"}), "[C:\\x.gguf x 0.5]");
  EXPECT_EQ(scaled({flag, "C:\\x.gguf", "0.5"}), "[C:\\x.gguf x 0.5]");
  EXPECT_EQ(scaled({flag, "a,b:c.gguf:0.5"}), "[a,b:c.gguf x 0.5]");
  // With a number behind it, it is a name.
  EXPECT_EQ(scaled({flag, "a:1", "0.5"}), "[a:1 x 0.5]");
  EXPECT_EQ(scaled({flag, "a:1:0.5"}), "[a:1 x 0.5]");
  const std::string missing = "--lora-scaled: expected FILE:SCALE after it";
  for (const char* bad : {"a", "a:", ":0.5", "a:much", "a:nan", "a:0.5x", "a:0.5,b", "a:0.5,", ""}) {
    EXPECT_EQ(scaled({flag, bad}), missing) << bad;
    EXPECT_THAT(scaled({flag, bad, flag, "b:2"}), testing::StartsWith("--lora-scaled: expected ")) << bad;
  }
}

TEST(ParseFlags, ScaledLorasOfAConfigFile) {
  EXPECT_EQ(scaled({}, "lora-scaled = \"a:0.5\"\n"), "[a x 0.5]");
  EXPECT_EQ(scaled({}, "lora-scaled = [\"a:0.5\", \"b:2\"]\n"), "[a x 0.5][b x 2]");
  EXPECT_EQ(scaled({}, "lora-scaled = [\"a\", 0.5, \"b:2\", \"c:1\", 3]\n"), "[a x 0.5][b x 2][c:1 x 3]");
  EXPECT_THAT(scaled({}, "lora-scaled = \"a\"\n"),
              testing::HasSubstr("lora-scaled: expected 2 values, found 1"));
  EXPECT_THAT(scaled({}, "lora-scaled = [\"a\", \"b\"]\n"),
              testing::HasSubstr("--lora-scaled: expected a number"));
}

TEST(ParseFlags, SeveralLorasInOneValue) {
  std::vector<LoraFile> loras;
  const CommandLine line = {"x", "", "", {{"", {{"--lora", "FILE", "", "", lora_file(loras)}}}}};
  const std::string comma = testing::TempDir() + "one,two.gguf";
  std::ofstream(comma) << "x";
  parse_flags(line, {"--lora", "a.gguf,b.gguf", "--lora", comma});
  ASSERT_EQ(loras.size(), 3u);
  EXPECT_EQ(loras[0].path, "a.gguf");
  EXPECT_EQ(loras[1].path, "b.gguf");
  EXPECT_EQ(loras[2].path, comma);
  EXPECT_THROW(parse_flags(line, {"--lora", "a,,b"}), UsageError);
}

TEST(ParseFlags, ConfigFilesAreReadAsWindowsWritesThem) {
  const auto config = [](const std::string& text) {
    const std::string path = testing::TempDir() + "config.toml";
    std::ofstream(path, std::ios::binary) << text;
    return path;
  };
  Finetune f;
  f.parse({"--config", config("\xEF\xBB\xBF"
                              "ctx = 7\r\nlora-r = 3\r\n")});
  EXPECT_EQ(f.options.n_ctx, 7);
  EXPECT_THAT(usage_error({"--config", config("ctx 7\n")}), HasSubstr("'ctx 7': expected NAME = VALUE"));
  EXPECT_THAT(usage_error({"--config", config("ctx = \"many\"\n")}),
              HasSubstr("config.toml: --ctx: expected"));
  EXPECT_THAT(usage_error({"--config", config("config = \"a\"\n")}),
              HasSubstr("stands on the command line only"));
  EXPECT_THROW(f.parse({"--config", config("train-data = \"a\n")}), Error) << "a quote is not closed";
  try {
    f.parse({"--config", config("ctx = 64\n[LoRA]\nlora-r = 8\n")});
    ADD_FAILURE() << "a section of no command is read";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(),
                HasSubstr("[LoRA]: no section of flags: they stand at the top, or below [finetune]"));
  }
  EXPECT_THROW(f.parse({"--config", config("[" + std::string(300, 'a') + "]\n")}), Error) << "a long section";
  EXPECT_THROW(f.parse({"--config", config(std::string(2 << 20, '\n'))}), Error) << "too large";
}

TEST(ConfigFile, SetsFlagsAndTheCommandLineWins) {
  const ConfigFile config(
      "# a comment\nctx = 99  # tokens\nbatch = 3\nsample-start = \"### Response:, x\"\nescape = true\n"
      "train-data = [\"a, b.txt\", \"c.txt\"]\nuse-checkpointing = true\nenable-restart = true\n"
      "separate-with-eos = false\nseed = -1\n[finetune]\nlora-r = 8\n[generate]\nlora-r = 9\n");
  Finetune f;
  const Given given =
      f.parse({"--batch", "5", "--config", config.path, "--no-checkpointing", "--disable-restart"});
  EXPECT_EQ(f.options.n_ctx, 99);
  EXPECT_EQ(f.options.n_batch, 5);
  EXPECT_EQ(f.options.sample_start, "### Response:, x");
  EXPECT_TRUE(f.options.escape);
  EXPECT_THAT(f.options.train_data, ElementsAre("a, b.txt", "c.txt"));
  EXPECT_EQ(f.options.checkpointing, Checkpointing::off);
  EXPECT_FALSE(f.options.restart);
  EXPECT_FALSE(f.options.separate_with_eos);
  EXPECT_EQ(f.options.lora_r, 8);
  EXPECT_EQ(given.source("--ctx"), Source::config_file);
  EXPECT_EQ(given.source("--batch"), Source::command_line);
  EXPECT_EQ(given.source("--warmup"), Source::nowhere);
}

TEST(ConfigFile, CommandLineReplacesAListOfFiles) {
  const ConfigFile config("train-data = [\"a.txt\", \"b.txt\"]\n");
  Finetune f;
  f.parse({"--train-data", "c.txt", "--config", config.path});
  EXPECT_THAT(f.options.train_data, ElementsAre("c.txt"));
}

TEST(ConfigFile, MaySetRequiredFlags) {
  const ConfigFile config("model-base = \"m.gguf\"\n");
  Finetune f;
  parse_flags(f.line, {"--config=" + config.path});
  EXPECT_EQ(f.options.model_base, "m.gguf");
}

TEST(ConfigFile, UnknownFlagNamesFileAndNearest) {
  const ConfigFile config("bacth = 3\n");
  EXPECT_EQ(usage_error({"--config", config.path}),
            config.path + ": --bacth: unknown flag; did you mean --batch?");
}

TEST(ConfigFile, BadValueIsRefused) {
  const ConfigFile config("ctx = many\n");
  EXPECT_THAT(usage_error({"--config", config.path}), EndsWith("found 'many'"));
}

TEST(ConfigFile, SeveralValuesForOneAreRefused) {
  const ConfigFile config("lora-out = my file.gguf\n");
  EXPECT_THAT(usage_error({"--config", config.path}), HasSubstr("lora-out: expected 1 value, found 2"));
}

TEST(ConfigFile, MissingFileIsAnError) {
  Finetune f;
  EXPECT_THROW(f.parse({"--config", "/nonexistent/lora.toml"}), Error);
}

}  // namespace config_file_test
}  // namespace lora::cli
