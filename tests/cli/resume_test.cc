// The same command twice, and commands that find another run's files under their names.
#include "resume.h"

#include <regex>

#include "base/regex_test_util.h"

namespace lora::test {
namespace resume_test {

// What does not make it another run, and changes what comes out.
TEST_F(Resume, AnotherLearningRateIsSaid) {
  run({"--adam-alpha", "0.001"});
  const RunResult changed = run({"--adam-alpha", "0.01", "--warmup", "7", "--adam-iter", "4"});
  EXPECT_THAT(changed.err,
              HasSubstr("note: from here on --adam-alpha 0.01 in place of 0.001, --warmup 7 in place of "));
  const RunResult same = run({"--adam-alpha", "0.01", "--warmup", "7", "--adam-iter", "4"});
  EXPECT_THAT(same.err, testing::Not(HasSubstr("from here on")));
}

TEST_F(Resume, SharesOfALongerRunAreTakenAnewAndSaid) {
  const Args flags = {"--warmup", "50%", "--cos-decay-steps", "auto", "--schedule", "linear"};
  run(flags + Args{"--adam-iter", "4"});
  EXPECT_THAT(run(flags + Args{"--adam-iter", "8"}).err,
              HasSubstr("note: from here on --warmup 4 in place of 2, --cos-decay-steps 4 in place of 2\n"));
  EXPECT_THAT(run({"--warmup", "4", "--cos-decay-steps", "4", "--adam-iter", "8"}).err,
              HasSubstr("note: from here on --schedule cosine in place of linear\n"));
}

// As the error says it.
TEST_F(Resume, TheWayOutLeadsOut) {
  run({"--checkpoint-out", "checkpoint.gguf", "--lora-out", "l.gguf"});
  const auto before = files();
  const Args other = {"--train-data", "other.txt", "--checkpoint-out", "c2.gguf", "--lora-out", "l2.gguf"};
  expect_refused(other, "checkpoint.gguf: data differs");
  run(other + Args{"--checkpoint-in", ""});
  for (const auto& [name, bytes] : before) EXPECT_TRUE(folder.read(name) == bytes) << name;
  EXPECT_EQ(folder.lora({"finetune", "-m", "model.gguf", "--checkpoint-in", "typo.gguf", "--only-write-lora"})
                .status,
            1);
}

TEST_F(Resume, TheSameCommandGoesOnFromWhatItSavedLast) {
  for (const Args& names :
       {Args{}, Args{"--checkpoint-out", "c.gguf", "--lora-out", "l.gguf"},
        Args{"--checkpoint-out", "c-@.gguf", "--pattern-fn-it", "@", "--fn-latest", "last"}}) {
    const Folder whole;
    whole.write("text.txt", ship_sentences());
    ASSERT_EQ(whole.lora(flags(names + Args{"--adam-iter", "5"})).status, 0);
    const Folder parts;
    parts.write("text.txt", ship_sentences());
    ASSERT_EQ(parts.lora(flags(names + Args{"--adam-iter", "3"})).status, 0);
    const RunResult again = parts.lora(flags(names + Args{"--adam-iter", "5"}));
    EXPECT_THAT(again.err, contains_regex("resume: c[a-zLATES.-]+gguf at iteration 3\n"));
    for (const std::string& name : whole.names()) EXPECT_EQ(parts.read(name), whole.read(name)) << name;
    const RunResult finished = parts.lora(flags(names + Args{"--adam-iter", "5"}));
    EXPECT_THAT(finished.err, HasSubstr("so nothing was trained"));
  }
}

TEST_F(Resume, AStoppedRunSaysThatTheSameCommandGoesOn) {
  RunOptions options;
  options.signal_on = [](std::string_view err) {
    return err.find("iter=     2 ") == err.npos ? 0 : kInterrupt;
  };
  const RunResult stopped = folder.lora(flags({"--adam-iter", "30", "--save-every", "0"}), options);
  EXPECT_EQ(stopped.status, 130) << stopped.err;
  EXPECT_THAT(stopped.err, testing::EndsWith("to go on: the same command again\n"));
  const RunResult again = run({"--adam-iter", "30", "--save-every", "0"});
  EXPECT_THAT(again.err, contains_regex("resume: checkpoint-LATEST.gguf at iteration [1-9]"));
}

// The best adapter and the seed are there before the first save on the way: both belong to the run.
TEST_F(Resume, KilledBeforeItsFirstSaveItGoesOnWithItsSeed) {
  const Args more = {"--seed",      "-1",          "--adam-iter", "12",           "--save-every",
                     "0",           "--val-split", "0.1",         "--eval-every", "1",
                     "--save-best", "--lora-out",  "l.gguf"};
  RunOptions options;
  options.signal_on = [](std::string_view err) { return err.find("iter=     3 ") == err.npos ? 0 : kKill; };
  const RunResult killed = folder.lora(flags(more), options);
  ASSERT_EQ(killed.status, 128 + kKill);
  ASSERT_TRUE(folder.has("l-BEST.gguf"));
  const RunResult again = run(more);
  EXPECT_THAT(again.err, HasSubstr("resume: checkpoint-LATEST.gguf at iteration 0\n"));
  std::smatch seed;
  ASSERT_TRUE(std::regex_search(killed.err, seed, std::regex("; seed [0-9]+\n")));
  EXPECT_THAT(again.err, HasSubstr(seed[0].str()));
}

TEST_F(Resume, ARunOfOtherDataOrSettingsOverwritesNothing) {
  run();
  expect_refused({"--train-data", "other.txt"}, "checkpoint-LATEST.gguf: data differs");
  expect_refused({"--lora-r", "8"}, "checkpoint-LATEST.gguf: --rank-wq differs: 4 in the checkpoint, 8 now");
  expect_refused({"--seed", "6"}, "checkpoint-LATEST.gguf: --seed differs");
  // One of the two names alone leaves the other's files in the way.
  expect_refused({"--train-data", "other.txt", "--checkpoint-out", "c.gguf"},
                 "ggml-lora-LATEST-f32.gguf: is there");
  expect_refused({"--train-data", "other.txt", "--lora-out", "l.gguf"},
                 "checkpoint-LATEST.gguf: data differs");
  expect_refused({"--checkpoint-out", ""}, "ggml-lora-LATEST-f32.gguf: is there already");
  // Both ways out.
  const std::string lora = folder.read("ggml-lora-LATEST-f32.gguf"),
                    numbered = folder.read("ggml-lora-2-f32.gguf");
  run({"--train-data", "other.txt", "--lora-out", "l.gguf", "--checkpoint-out", "c.gguf"});
  EXPECT_EQ(folder.read("ggml-lora-LATEST-f32.gguf"), lora);
  run({"--train-data", "other.txt", "--checkpoint-in", ""});
  EXPECT_NE(folder.read("ggml-lora-LATEST-f32.gguf"), lora);
  EXPECT_NE(folder.read("ggml-lora-2-f32.gguf"), numbered);
}

TEST_F(Resume, WhateverStandsUnderItsNamesIsSparedByARunThatBegins) {
  const auto only = [&](const std::string& name, const std::string& bytes) {
    for (const std::string& there : folder.names()) {
      if (there.ends_with(".gguf") && there != "model.gguf") std::filesystem::remove(folder.at(there));
    }
    folder.write(name, bytes);
  };
  for (const char* name : {"ggml-lora-LATEST-f32.gguf", "ggml-lora-20-f32.gguf", "checkpoint-7.gguf"}) {
    only(name, "what somebody else has written");
    expect_refused({}, std::string(name) + ": is there already, and there is no checkpoint to go on from");
  }
  only("checkpoint-LATEST.gguf", "what somebody else has written");
  expect_refused({}, "checkpoint-LATEST.gguf: ");
  only("ggml-lora-BEST-f32.gguf", "the best of an older run");
  expect_refused({"--save-best", "--val-split", "0.1"}, "ggml-lora-BEST-f32.gguf: is there already");
  run({"--checkpoint-out", "", "--lora-out", "l.gguf"});  // those names are free
  only("ggml-lora-LATEST-f32.gguf", "");                  // nothing is lost with it
  folder.write("ggml-lora-f32.gguf", "not of the pattern");
  folder.write("ggml-lora-x1-f32.gguf", "nor this");
  run();
  EXPECT_EQ(folder.read("ggml-lora-f32.gguf"), "not of the pattern");
}

TEST_F(Resume, AFileThatIsNamedWinsAndOneThatIsMissingIsSaid) {
  run({"--adam-iter", "4", "--save-every", "2"});
  const RunResult typo = run({"--adam-iter", "5", "--checkpoint-in", "typo.gguf"});
  EXPECT_THAT(
      typo.err,
      HasSubstr("warning: resume: checkpoint-LATEST.gguf at iteration 4; there is no file typo.gguf\n"));
  const std::string latest = folder.read("ggml-lora-LATEST-f32.gguf");
  const RunResult named = run({"--adam-iter", "5", "--checkpoint-in", "checkpoint-2.gguf"});
  EXPECT_THAT(named.err, AllOf(HasSubstr("resume: checkpoint-2.gguf at iteration 2\n"),
                               HasSubstr("note: checkpoint-LATEST.gguf is further on, at iteration 5")));
  EXPECT_EQ(folder.read("ggml-lora-LATEST-f32.gguf"), latest);
  std::filesystem::copy_file(folder.at("checkpoint-2.gguf"), folder.at("checkpoint.gguf"));
  const RunResult both = run({"--adam-iter", "5"});
  EXPECT_THAT(both.err,
              HasSubstr("resume: checkpoint-LATEST.gguf at iteration 5; checkpoint.gguf is there too: "
                        "--checkpoint-in checkpoint.gguf goes on from that\n"));
  EXPECT_THAT(run({"--adam-iter", "5", "--checkpoint-in", "checkpoint.gguf"}).err,
              HasSubstr("resume: checkpoint.gguf at iteration 2\n"));
  // The guide's name alone is found as ever.
  std::filesystem::remove(folder.at("checkpoint-LATEST.gguf"));
  EXPECT_THAT(run({"--adam-iter", "5"}).err, HasSubstr("resume: checkpoint.gguf at iteration 2\n"));
}

// The learning rate, the optimizer's length, threads, memory: none of them makes it another run.
TEST_F(Resume, ARunStaysTheSameWithWhateverMayChange) {
  run({"--checkpoint-out", "", "--lora-out", "init.gguf"});
  for (const Args& kind : {Args{}, Args{"--use-lbfgs"}, Args{"--lora-init", "init.gguf"}}) {
    const Args names = kind + Args{"--checkpoint-out", "c-ITERATION.gguf", "--lora-out", "l.gguf"};
    run(names + Args{"--checkpoint-in", "", "--lbfgs-iter", "2"});
    run(names + Args{"--adam-iter", "3", "--lbfgs-iter", "3", "--adam-alpha", "0.01", "--threads", "2",
                     "--use-checkpointing", "--memory", "2GB", "--seed", "-1", "--metrics", "m"});
    const RunResult written = folder.lora({"finetune", "-m", "model.gguf", "--only-write-lora", "--lora-out",
                                           "l.gguf", "--checkpoint-in", "c-LATEST.gguf"});
    EXPECT_EQ(written.status, 0) << written.err;
    std::filesystem::remove(folder.at("m"));
  }
}

// What the first versions wrote: checkpoints with a name, adapters that do not tell of their run.
TEST_F(Resume, AnOlderCheckpointIsReadAndAnOlderAdapterSpared) {
  run();
  const auto rewrite = [&](const std::string& name, const std::string& left_out,
                           const std::string& checksum) {
    const std::string bytes = folder.read(name);
    folder.write("old", bytes);
    const Gguf old = Gguf::open(folder.at("old"));
    GgufWriter writer;
    for (const auto& [key, value] : old.values()) {
      if (key != left_out) writer.set(key, value);
    }
    if (!checksum.empty()) writer.set_string("lora_cpp.checkpoint.lora_out", "ggml-lora-ITERATION-f32.gguf");
    for (const GgufTensor& t : old.tensors()) {
      if (t.name != checksum) writer.add_tensor(t.name, t.type, {t.ne, t.ne + t.n_dims}, t.data);
    }
    writer.write(folder.at(name), checksum);
    EXPECT_NE(folder.read(name), bytes);
  };
  rewrite("checkpoint-LATEST.gguf", "", "checksum");
  rewrite("ggml-lora-LATEST-f32.gguf", "lora_cpp.run", "");
  const auto before = files();
  const RunResult refused = folder.lora(flags({"--adam-iter", "3"}));
  expect_error(refused, 1, "ggml-lora-LATEST-f32.gguf: is there already, and not of the run of checkpoint-");
  EXPECT_THAT(refused.err, HasSubstr("give --lora-out another name, or remove it"));
  EXPECT_TRUE(files() == before);
  std::filesystem::remove(folder.at("ggml-lora-LATEST-f32.gguf"));
  EXPECT_THAT(run({"--adam-iter", "3"}).err, HasSubstr("resume: checkpoint-LATEST.gguf at iteration 2\n"));
}

// What '' allowed once need not be said again.
TEST_F(Resume, BegunAnewOverOlderFilesItGoesOn) {
  const Args best = {"--val-split", "0.1", "--eval-every", "20", "--save-best"};
  run(best + Args{"--adam-iter", "4", "--save-every", "2"});
  ASSERT_TRUE(folder.has("ggml-lora-BEST-f32.gguf"));
  const Args anew = best + Args{"--train-data", "other.txt", "--adam-iter", "12", "--save-every", "0"};
  RunOptions options;
  options.signal_on = [](std::string_view err) { return err.find("iter=     2 ") == err.npos ? 0 : kKill; };
  ASSERT_EQ(folder.lora(flags(anew + Args{"--checkpoint-in", ""}), options).status, 128 + kKill);
  EXPECT_THAT(run(anew).err, HasSubstr("resume: checkpoint-LATEST.gguf at iteration 0\n"));
}

// A text of which reading fails: whatever else is wrong is said first.
TEST_F(Resume, AllElseIsLookedAtBeforeTheDataIsRead) {
  run();
  folder.write("bad.txt", std::string("<s>zero\0byte", 12));
  const auto why = [&](const Args& more) {
    const RunResult result = folder.lora(flags(Args{"--train-data", "bad.txt"} + more));
    EXPECT_NE(result.status, 0);
    return result.err;
  };
  const Args anew = {"--checkpoint-in", "", "--checkpoint-out", ""};
  EXPECT_THAT(why(anew), HasSubstr("bad.txt: "));
  for (const auto& [more, what] :
       {std::pair{anew + Args{"--lora-out", "none/l.gguf"}, "none/l.gguf"},
        {anew + Args{"--metrics", "none/m.jsonl"}, "none/m.jsonl"},
        {anew + Args{"--val-data", "none.txt"}, "none.txt"},
        {anew + Args{"--lora-init", "none.gguf"}, "none.gguf"},
        {anew + Args{"--lora-init", "text.txt"}, "text.txt"},
        {anew + Args{"--chat-template", "nosuch"}, "--chat-template: no template 'nosuch'"},
        {anew + Args{"--memory", "1MB"}, "memory: "},
        {anew + Args{"--lora-out", "", "--lora-init", "ggml-lora-2-f32.gguf", "--lora-r", "8"},
         "--lora-r: 8 was asked for"},
        {{"--lora-r", "8"}, "--rank-wq differs"},
        {{"--checkpoint-out", ""}, "ggml-lora-LATEST-f32.gguf: is there already"}}) {
    EXPECT_THAT(why(more), AllOf(HasSubstr(what), Not(HasSubstr("bad.txt")))) << what;
  }
}

}  // namespace resume_test
}  // namespace lora::test
