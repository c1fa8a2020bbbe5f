#include "cli/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <regex>
#include <set>

#include "base/error.h"
#include "base/machine.h"
#include "cli/aliases.h"
#include "cli/finetune_flags.h"
#include "cli/help.h"
#include "cli/parse_test_util.h"

namespace lora::cli {
namespace parse_test {

using testing::Contains;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using namespace test;

TEST(ParseFlags, ValueFollowsOrIsJoined) {
  Finetune f;
  f.parse({"--ctx", "64", "--batch=2", "-t", "3", "--adam-alpha=1e-4"});
  EXPECT_EQ(f.options.n_ctx, 64);
  EXPECT_EQ(f.options.n_batch, 2);
  EXPECT_EQ(f.options.threads, 3);
  EXPECT_EQ(f.options.adam_alpha, 1e-4);
}

TEST(ParseFlags, ModelHasThreeNames) {
  for (const char* name : {"-m", "--model", "--model-base"}) {
    Finetune f;
    parse_flags(f.line, {name, "x.gguf"});
    EXPECT_EQ(f.options.model_base, "x.gguf");
  }
}

TEST(ParseFlags, NegativeNumbersAreValues) {
  Finetune f;
  f.parse({"--seed", "-1", "--save-every", "-5"});
  EXPECT_EQ(f.options.seed, -1);
  EXPECT_EQ(f.options.save_every, -5);
  Finetune g;
  g.parse({"-s", "-1"});
  EXPECT_EQ(g.options.seed, -1);
}

TEST(ParseFlags, TextMayBeginWithADashOrHoldAnything) {
  for (const char* value : {"<s>", "\\n", "-", "--", "--ctx", "a=b", "[INST]", "a,b", "{x}", " ", "\n### "}) {
    Finetune f;
    f.parse({"--sample-start", value, "--ctx", "7"});
    EXPECT_EQ(f.options.sample_start, value);
    EXPECT_EQ(f.options.n_ctx, 7);
    Finetune g;
    g.parse({std::string("--sample-start=") + value, "--ctx", "7"});
    EXPECT_EQ(g.options.sample_start, value);
  }
}

// On Windows, too, where programs take it for a flag's.
TEST(ParseFlags, ValuesMayBeginWithASlash) {
  Finetune f;
  f.parse({"--train-data", "/texts/a.txt", "--sample-start", "/ctx"});
  EXPECT_EQ(f.options.train_data, std::vector<std::string>{"/texts/a.txt"});
  EXPECT_EQ(f.options.sample_start, "/ctx");
}

TEST(ParseFlags, TextMayBeEmpty) {
  Finetune f;
  f.parse({"--checkpoint-out", "", "--lora-out=", "--ctx", "7"});
  EXPECT_EQ(f.options.checkpoint_out, "");
  EXPECT_EQ(f.options.lora_out, "");
  EXPECT_EQ(f.options.n_ctx, 7);
}

TEST(ParseFlags, RepeatedFileReplacesTheDefaultAndAdds) {
  Finetune f;
  f.parse({"--train-data", "a.txt", "--train-data", "[b].txt"});
  EXPECT_THAT(f.options.train_data, ElementsAre("a.txt", "[b].txt"));
}

// As a shell hands on *.txt.
TEST(ParseFlags, FilesGoOnToTheNextFlag) {
  Finetune f;
  f.parse({"--train-data", "a.txt", "b.jsonl", "c", "--ctx", "7", "--val-data=d", "e", "--train-data", "f",
           "-b", "3"});
  EXPECT_THAT(f.options.train_data, ElementsAre("a.txt", "b.jsonl", "c", "f"));
  EXPECT_THAT(f.options.val_data, ElementsAre("d", "e"));
  EXPECT_EQ(f.options.n_ctx, 7);
  EXPECT_EQ(f.options.n_batch, 3);
  Finetune g;
  g.parse({"--data", "a", "b"});
  EXPECT_THAT(g.options.train_data, ElementsAre("a", "b"));
  EXPECT_THROW(Finetune().parse({"--train-data"}), UsageError);
  EXPECT_THROW(Finetune().parse({"--ctx", "7", "b.txt"}), UsageError);
}

TEST(ParseFlags, LastOccurrenceWins) {
  Finetune f;
  f.parse({"--ctx", "5", "--ctx", "6", "--no-separate-with-eos", "--separate-with-eos", "--use-checkpointing",
           "--no-checkpointing"});
  EXPECT_EQ(f.options.n_ctx, 6);
  EXPECT_TRUE(f.options.separate_with_eos);
  EXPECT_EQ(f.options.checkpointing, Checkpointing::off);
}

TEST(ParseFlags, RestartSwitchesIgnoreAValue) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{"--enable-restart"},
                                               {"--enable-restart", "1"},
                                               {"--enable-restart", "N", "--ctx", "7"}}) {
    Finetune f;
    f.parse(args);
    EXPECT_TRUE(f.options.restart);
  }
  Finetune f;
  f.parse({"--enable-restart", "--disable-restart", "0"});
  EXPECT_FALSE(f.options.restart);
}

TEST(ParseFlags, UnknownFlagNamesTheNearest) {
  EXPECT_EQ(usage_error({"--bacth", "3"}), "--bacth: unknown flag; did you mean --batch?");
  EXPECT_EQ(usage_error({"--lora-rnk=3"}), "--lora-rnk: unknown flag; did you mean --lora-r?");
}

TEST(ParseFlags, WhatIsNotNearIsNotGuessedAt) {
  EXPECT_EQ(usage_error({"--frobnicate"}),
            "--frobnicate: unknown flag; lora finetune --help-all lists those it has");
  EXPECT_EQ(usage_error({"--xy"}), "--xy: unknown flag; lora finetune --help-all lists those it has");
}

TEST(ParseFlags, UnderscoresAreDashesInNamesAndNowhereElse) {
  Finetune f;
  f.parse({"--lora_r", "5", "--learning_rate=3e-4", "--sample_start", "--lora_r", "--train-data", "a_b.txt"});
  EXPECT_EQ(f.options.lora_r, 5);
  EXPECT_EQ(f.options.adam_alpha, 3e-4);
  EXPECT_EQ(f.options.sample_start, "--lora_r");
  EXPECT_EQ(f.options.train_data, std::vector<std::string>{"a_b.txt"});
  EXPECT_EQ(scaled({"--lora_scaled", "a_b:0.5"}), "[a_b x 0.5]");
  EXPECT_EQ(scaled({}, "lora_scaled = \"a_b:0.5\"\n"), "[a_b x 0.5]");
  EXPECT_EQ(usage_error({"--lora_q"}), "--lora_q: unknown flag; did you mean --lora-r?");
  EXPECT_EQ(usage_error({"--r", "8"}), "--r: unknown flag; did you mean --lora-r?");
}

TEST(ParseFlags, NamesOfOtherProgramsAreUnderstood) {
  Finetune f;
  f.parse({"--data", "a.txt", "--learning-rate=3e-4", "--iters", "7", "--rank", "5", "--alpha", "6",
           "--max-seq-length", "64", "--batch-size", "2"});
  EXPECT_EQ(f.options.train_data, std::vector<std::string>{"a.txt"});
  EXPECT_EQ(f.options.adam_alpha, 3e-4);
  EXPECT_EQ(f.options.adam_iter, 7);
  EXPECT_EQ(f.options.lora_r, 5);
  EXPECT_EQ(f.options.lora_alpha, 6);
  EXPECT_EQ(f.options.n_ctx, 64);
  EXPECT_EQ(f.options.n_batch, 2);
}

TEST(ParseFlags, RanksByNameOfTensor) {
  Finetune f;
  f.parse({"--rank", "attn_qkv=8,ffn_up=0", "--rank-wo", "2", "--rank", "ffn_up=3"});
  EXPECT_EQ(f.options.ranks, (Ranks{{"attn_qkv", 8}, {"attn_output", 2}, {"ffn_up", 3}}));
  EXPECT_THAT(f.options.ranks_by_name, testing::ElementsAre("attn_qkv", "ffn_up"));
  EXPECT_FALSE(f.options.lora_r);
  for (const char* wrong :
       {"attn_q=", "=3", "attn_q=3,", "attn_q=3,,ffn_up=1", "attn_q=3,attn_q=4", "attn_q=-1", "x", ""}) {
    Finetune g;
    EXPECT_THROW(g.parse({"--rank", wrong}), UsageError) << wrong;
  }
}

TEST(ParseFlags, TwoNamesOfAFlagAreOneFlag) {
  Finetune f;
  const Given given = f.parse({"--lr", "1", "--adam-alpha", "2", "--learning-rate", "3"});
  EXPECT_EQ(f.options.adam_alpha, 3);
  EXPECT_EQ(given.source("--adam-alpha"), Source::command_line);
  const ConfigFile config("lr = 5\nsteps = 9\n");
  Finetune g;
  g.parse({"--config", config.path, "--iters", "4"});
  EXPECT_EQ(g.options.adam_alpha, 5);
  EXPECT_EQ(g.options.adam_iter, 4);
}

TEST(ParseFlags, OtherNamesAreNotInTheHelp) {
  Finetune f;
  EXPECT_THAT(help_page(f.line, true), Not(HasSubstr("--learning-rate")));
}

TEST(ParseFlags, NoAliasTakesAnotherFlagsName) {
  Finetune f;  // --output might be --lora-out or --checkpoint-out: it is neither
  EXPECT_THAT(usage_error({"--output", "x"}), HasSubstr("--output: unknown flag; did you mean --lora-out"));
  EXPECT_THAT(usage_error({"--dry-run"}), HasSubstr("lora estimate"));
  std::set<std::string> seen;
  for (const FlagGroup& group : f.line.groups) {
    for (const Flag& flag : group.flags) {
      for (const std::string& name : names_of(flag)) EXPECT_TRUE(seen.insert(name).second) << name;
      for (const std::string& name : aliases_of(flag, f.line.groups)) {
        EXPECT_TRUE(seen.insert(name).second) << name;
      }
    }
  }
}

TEST(ParseFlags, APositionalArgumentMayBeNamedAnywhere) {
  const std::vector<std::vector<std::string>> commands = {{"a", "q8_0", "--output", "b"},
                                                          {"a", "--output", "b", "q8_0"},
                                                          {"a", "b", "q8_0"},
                                                          {"a", "q8_0", "-o=b"},
                                                          {"--output=b", "a", "q8_0"},
                                                          {"q8_0", "--output", "b", "--model", "a"}};
  for (const auto& args : commands) {
    std::string in, out, type;
    const CommandLine line = {
        "quantize",
        "",
        "",
        {{"Arguments",
          {{"IN", "", "", "", text(in)}, {"OUT", "", "", "", text(out)}, {"TYPE", "", "", "", text(type)}}}}};
    parse_flags(line, args);
    EXPECT_EQ(in + " " + out + " " + type, "a b q8_0") << args[0] << " " << args[1];
  }
}

TEST(ParseFlags, AShortFlagsValueMayFollowAnEqualsSign) {
  Finetune f;
  f.parse({"-c=64", "-s=-1", "--sample-start", "-c=5", "-b=3"});
  EXPECT_EQ(f.options.n_ctx, 64);
  EXPECT_EQ(f.options.seed, -1);
  EXPECT_EQ(f.options.sample_start, "-c=5");
  EXPECT_EQ(f.options.n_batch, 3);
  EXPECT_EQ(usage_error({"-c="}), "--ctx: expected a whole number from 1 to 2147483647, found ''");
  f.parse({"--sample-start", "--ctx=", "--ctx", "9"});
  EXPECT_EQ(f.options.sample_start, "--ctx=");
  EXPECT_EQ(f.options.n_ctx, 9);
}

TEST(ParseFlags, MoreThreadsThanCoresAreWarnedOf) {
  const auto said = [](const std::string& threads) {
    Finetune f;
    testing::internal::CaptureStderr();
    f.parse({"-t", threads});
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(said(std::to_string(physical_cores())), "");
  const std::string warning = said(std::to_string(physical_cores() + 1));
  EXPECT_THAT(warning, testing::StartsWith("warning: --threads "));
  EXPECT_THAT(warning, HasSubstr(std::to_string(physical_cores()) + " core"));
}

TEST(ParseFlags, UnexpectedArgumentIsRefused) {
  EXPECT_THAT(usage_error({"file.txt"}), testing::StartsWith("'file.txt': unexpected argument"));
}

TEST(ParseFlags, ErrorsNameFlagAndRange) {
  EXPECT_EQ(usage_error({"--ctx", "12abc"}),
            "--ctx: expected a whole number from 1 to 2147483647, found '12abc'");
  EXPECT_EQ(usage_error({"-c", "0"}), "--ctx: expected a whole number from 1 to 2147483647, found '0'");
  EXPECT_EQ(usage_error({"--adam-beta1", "1"}),
            "--adam-beta1: expected a number of at least 0 and below 1, found '1'");
  EXPECT_EQ(usage_error({"--precision", "f8"}), "--precision: expected f32, bf16, int8 or auto, found 'f8'");
  EXPECT_THAT(usage_error({"--memory", "lots"}), HasSubstr("--memory: expected a size such as 2GiB"));
}

TEST(ParseFlags, IterationsAreANumberAPartOfTheRunOrAutomatic) {
  Finetune f;
  const auto shown = [&](const std::string& flag) {
    for (const FlagGroup& group : f.line.groups) {
      for (const Flag& row : group.flags) {
        if (main_name(row) == flag) return row.setting.show();
      }
    }
    return std::string("no such flag");
  };
  EXPECT_EQ(shown("--warmup") + " " + shown("--cos-decay-steps"), "100 1000");
  f.parse({"--warmup", "7%", "--cos-decay-steps", "AUTO", "--schedule", "Linear"});
  EXPECT_EQ(shown("--warmup") + " " + shown("--cos-decay-steps"), "7% auto");
  EXPECT_EQ(f.options.warmup.percent, 7);
  EXPECT_EQ(f.options.schedule, Schedule::linear);
  f.parse({"--warmup", "0", "--cos-decay-steps", "150%"});
  EXPECT_EQ(shown("--warmup") + " " + shown("--cos-decay-steps"), "0 150%");
  EXPECT_EQ(usage_error({"--warmup", "some"}),
            "--warmup: expected a number, a part of the run such as 5%, or auto, found 'some'");
  EXPECT_EQ(usage_error({"--warmup", "101%"}),
            "--warmup: expected a number of at least 0 and of at most 100, found '101'");
  EXPECT_THAT(usage_error({"--warmup", "0.5"}), HasSubstr("expected a whole number from 0"));
  EXPECT_THAT(usage_error({"--cos-decay-steps", "0%"}), HasSubstr("expected a number above 0"));
  EXPECT_THAT(usage_error({"--cos-decay-steps", "0"}), HasSubstr("expected a whole number from 1"));
  EXPECT_EQ(usage_error({"--schedule", "step"}),
            "--schedule: expected cosine, linear or constant, found 'step'");
}

TEST(ParseFlags, MissingValueIsAnError) {
  EXPECT_EQ(usage_error({"--ctx"}), "--ctx: expected N after it");
}

TEST(ParseFlags, MissingRequiredFlagIsAnError) {
  Finetune f;
  EXPECT_THROW(parse_flags(f.line, {}), UsageError);
}

TEST(ParseFlags, HelpWinsOverEverything) {
  Finetune f;
  const Given given = parse_flags(f.line, {"--foo", "--ctx", "x", "--help"});
  EXPECT_TRUE(given.help);
  EXPECT_FALSE(given.help_all);
  const Given all = parse_flags(f.line, {"--foo", "--help-all"});
  EXPECT_TRUE(all.help && all.help_all);
}

// The names of the flags that a page has rows of.
std::vector<std::string> rows_of(const std::string& page) {
  static const std::regex row(R"((?:^|\n) +(?:-\w, )?(--[a-z0-9-]+))");
  std::vector<std::string> names;
  for (std::sregex_iterator it(page.begin(), page.end(), row), end; it != end; ++it)
    names.push_back((*it)[1]);
  return names;
}

TEST(HelpPage, ShowsTwentyFlagsOfFinetuneAndSaysWhereTheOthersAre) {
  const Finetune f;
  const std::string page = help_page(f.line, false);
  const std::vector<std::string> rows = rows_of(page), all = rows_of(help_page(f.line, true));
  const std::vector<std::string> general = {"--config", "--help", "--help-all"};
  EXPECT_EQ(rows.size(), 20 + general.size());
  EXPECT_TRUE(std::equal(general.begin(), general.end(), rows.end() - 3));
  EXPECT_THAT(rows, testing::IsSupersetOf({"--model-base", "--train-data", "--ctx", "--adam-alpha"}));
  EXPECT_THAT(rows, Not(Contains("--rank-wq")));
  EXPECT_THAT(page, HasSubstr(fmt::format("\nlora finetune --help-all lists the other {} flags too.\n",
                                          all.size() - rows.size())));
}

TEST(HelpPage, OfFewFlagsIsOnePage) {
  FinetuneOptions options;
  const CommandLine line = {
      "bench", "", "", {finetune_flags(options, "Some", {"--ctx", "--rank-wq", "--seed"})}};
  EXPECT_EQ(rows_of(help_page(line, false)),
            (std::vector<std::string>{"--ctx", "--rank-wq", "--seed", "--config", "--help"}));
  EXPECT_EQ(help_page(line, false), help_page(line, true));
}

TEST(HelpPage, ShowsEveryAvailableFlagWithItsDefault) {
  const Finetune f;
  const std::string page = help_page(f.line, true);
  for (const FlagGroup& group : f.line.groups) {
    for (const Flag& flag : group.flags) EXPECT_THAT(page, HasSubstr(main_name(flag)));
  }
  EXPECT_THAT(page, HasSubstr("-c, --ctx N"));
  EXPECT_THAT(page, HasSubstr("(default: 128 tokens)"));
  EXPECT_THAT(page, HasSubstr("(default: 0.001)"));
  EXPECT_THAT(page, HasSubstr("(required)"));
  EXPECT_THAT(page, HasSubstr("--config FILE"));
}

}  // namespace parse_test
}  // namespace lora::cli
