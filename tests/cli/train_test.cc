// `lora train`: what it chooses is said and written, the same command goes on, the best is handed over.
#include <fmt/format.h>

#include "cli_test.h"

namespace lora::test {
namespace train_test {

using Args = std::vector<std::string>;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Train : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override { folder.write("text.txt", ship_sentences()); }

  // One thread and few passes: a run of a second or two.
  RunResult run(const Args& more = {}, const RunOptions& options = {}) const {
    return folder.lora(Args{"train", "model.gguf", "text.txt", "-o", "my", "--epochs", "1", "--threads", "1",
                            "--lora-r", "4"} +
                           more,
                       options);
  }
};

TEST_F(Train, TheFinetuneCommandItEqualsGivesTheSameAdapter) {
  const RunResult trained = run();
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_EQ(trained.out, "");
  for (const char* name : {"my.gguf", "my-last.gguf", "my-checkpoint.gguf", "my.jsonl", "my.toml", "my.md",
                           "my.svg", "my.Modelfile"})
    EXPECT_TRUE(folder.has(name)) << name;
  const std::string best = folder.read("my.gguf"), last = folder.read("my-last.gguf");
  const std::string toml = folder.read("my.toml");
  EXPECT_THAT(toml, HasSubstr("model-base = 'model.gguf'\n"));
  EXPECT_THAT(toml, HasSubstr("sample-start = '<s>'\n"));
  EXPECT_THAT(toml, HasSubstr("\nepochs = 1\n"));
  // What auto has come to is the machine's.
  const std::string precision = parse_json(lines_of(folder.read("my.jsonl")).at(0))["precision"];
  EXPECT_THAT(toml, HasSubstr(fmt::format("\n# precision = 'auto' is {} on this machine\n", precision)));
  EXPECT_THAT(folder.read("my.md"), HasSubstr(fmt::format(" kernels, {} inputs:\n", precision)));
  for (const char* name : {"my.gguf", "my-last.gguf", "my-checkpoint.gguf", "my.jsonl"})
    std::filesystem::remove(folder.at(name));
  const RunResult again = folder.lora({"finetune", "--config", "my.toml"});
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(folder.read("my.gguf"), best);
  EXPECT_EQ(folder.read("my-last.gguf"), last);
  if (!is_posix()) return;
  // And so does the command that is printed.
  for (const char* name : {"my.gguf", "my-last.gguf", "my-checkpoint.gguf", "my.jsonl", "my.toml"})
    std::filesystem::remove(folder.at(name));
  const size_t begin = trained.err.find("  lora finetune ") + 7;
  const std::string command = trained.err.substr(begin, trained.err.find('\n', begin) - begin);
  folder.write("again.sh", fmt::format("exec {} {}\n", LORA_PROGRAM, command));
  const RunResult printed = run_program({"/bin/sh", "again.sh"}, {.directory = folder.path});
  ASSERT_EQ(printed.status, 0) << printed.err;
  EXPECT_EQ(folder.read("my.gguf"), best);
}

TEST_F(Train, EachChoiceIsSaidWithItsReasonAndADryRunWritesNothing) {
  const std::set<std::string> before = folder.names();
  const RunResult dry = run({"--dry-run"});
  ASSERT_EQ(dry.status, 0) << dry.err;
  for (const char* text :
       {"'<s>' marks them", "--ctx ", "holds ", "--val-split 0.2", "8 samples at the least", "--batch ",
        "--adam-alpha 0.0025", "(2000 / 256)^0.781", "--seed 1", "of memory", "of disk",
        "a sample as it is trained", "lora finetune --model-base model.gguf"})
    EXPECT_THAT(dry.out, HasSubstr(text));
  EXPECT_THAT(dry.out, Not(HasSubstr("--epochs 1  ")));  // asked for, not chosen
  EXPECT_EQ(folder.names(), before);
}

TEST_F(Train, AHandoverSaysHowGoodItBecame) {
  const RunResult trained = run();
  EXPECT_THAT(trained.err, AllOf(HasSubstr("held-out loss: "), HasSubstr("before training"),
                                 HasSubstr("text of this kind that it has not seen surprises it"),
                                 HasSubstr("sample, before training: \""), HasSubstr("to use it:\n"),
                                 HasSubstr("llama-cli -m model.gguf --lora my.gguf")));
  const std::string text = folder.read("my.md");
  EXPECT_THAT(
      text, AllOf(HasSubstr("| before training | "), HasSubstr("| best, iteration "), HasSubstr("](my.svg)"),
                  HasSubstr("it went on before training"), HasSubstr("ollama create my -f my.Modelfile")));
  const auto adapter = std::filesystem::path(folder.at("my.gguf")).make_preferred();
  EXPECT_THAT(folder.read("my.Modelfile"), HasSubstr("ADAPTER " + adapter.string()));
}

TEST_F(Train, StoppedItGoesOnByTheSameCommandToTheSameBytes) {
  ASSERT_EQ(run().status, 0);
  const std::string best = folder.read("my.gguf"), checkpoint = folder.read("my-checkpoint.gguf"),
                    summary = folder.read("my.md");
  for (const std::string& name : folder.names()) {
    if (name.starts_with("my")) std::filesystem::remove(folder.at(name));
  }
  RunOptions options;
  options.signal_on = [](std::string_view err) {
    return err.find("iter=     4 ") == err.npos ? 0 : kInterrupt;
  };
  const RunResult stopped = run({}, options);
  ASSERT_EQ(stopped.status, 128 + kInterrupt) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("to go on: the same command again"));
  EXPECT_FALSE(folder.has("my.md"));
  const RunResult resumed = run();
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("my.toml: the settings that this run was begun with"));
  EXPECT_EQ(folder.read("my.gguf"), best);
  EXPECT_EQ(folder.read("my-checkpoint.gguf"), checkpoint);
  EXPECT_EQ(folder.read("my.md"), summary);
}

// A prompt whose continuation was dropped is continued when the run goes on.
TEST_F(Train, StoppedWhileItSpeaksItSaysTheSameInTheEnd) {
  ASSERT_EQ(run().status, 0);
  const std::string summary = folder.read("my.md");
  for (const std::string& name : folder.names()) {
    if (name.starts_with("my")) std::filesystem::remove(folder.at(name));
  }
  RunOptions options;
  options.signal_on = [](std::string_view err) {
    return err.find("sample prompt: ") == err.npos ? 0 : kInterrupt;
  };
  ASSERT_EQ(run({}, options).status, 128 + kInterrupt);
  ASSERT_EQ(run().status, 0);
  EXPECT_EQ(folder.read("my.md"), summary);
}

TEST_F(Train, ItGoesOnFromACheckpointOfAnotherNameAndWhereItWasBegunAnew) {
  RunOptions options;
  options.signal_on = [](std::string_view err) {
    return err.find("iter=     2 ") == err.npos ? 0 : kInterrupt;
  };
  const Args other = {"--checkpoint-out", "c-ITERATION.gguf"};
  ASSERT_EQ(run(other, options).status, 128 + kInterrupt);
  EXPECT_THAT(run(other, options).err, HasSubstr("my.toml: the settings that this run was begun with"));
  ASSERT_EQ(run({"--checkpoint-in", ""}, options).status, 128 + kInterrupt);
  EXPECT_THAT(run().err, HasSubstr("my.toml: the settings that this run was begun with"));
}

TEST_F(Train, WhatItReadsIsNeverWrittenOver) {
  folder.write("my.md", ship_sentences());
  const Args on_my = {"train", "model.gguf", "my.md", "-o", "my"};
  expect_error(folder.lora(on_my), 1, "my.md: is there already");
  expect_error(folder.lora(on_my + Args{"--checkpoint-in", ""}), 1, "my.md");
  EXPECT_EQ(folder.read("my.md"), ship_sentences());
  std::filesystem::create_directory(folder.at("data"));
  folder.write("data/a.txt", ship_sentences());
  expect_error(folder.lora({"train", "model.gguf", "data", "-o", "data/my"}), 1,
               "data/my.jsonl: lies in data, where it would be read as data");
  folder.write("other.toml", "ctx = 3\n");
  expect_error(folder.lora({"train", "model.gguf", "text.txt", "-o", "other"}), 1,
               "other.toml: is there already");
}

TEST_F(Train, WhatHasNoEffectIsSaid) {
  EXPECT_THAT(run({"--dry-run", "--hours", "1", "--keep", "2"}).err,
              AllOf(HasSubstr("warning: --hours has no effect: --epochs says how long the run is"),
                    HasSubstr("warning: --keep has no effect")));
}

TEST_F(Train, TextsOfEveryKindComeBackFromWhatIsWritten) {
  const Args texts = {"--sample-prompt", "it's a, \\ # 'b'", "--lora-out", "a b.gguf"};
  ASSERT_EQ(run(texts).status, 0);
  EXPECT_THAT(folder.read("my.toml"), AllOf(HasSubstr("sample-prompt = \"it's a, \\ # 'b'\"\n"),
                                            HasSubstr("lora-out = 'a b.gguf'\n")));
  EXPECT_THAT(run(texts).err, HasSubstr("was reached already"));
  const RunResult line = run({"-o", "two", "--sample-prompt", "a\nb"});
  ASSERT_EQ(line.status, 0) << line.err;
  EXPECT_THAT(folder.read("two.toml"), HasSubstr("# --sample-prompt: a value that this file cannot hold"));
  EXPECT_EQ(folder.lora({"finetune", "--config", "two.toml"}).status, 0);
}

TEST_F(Train, AFinishedRunSaysSo) {
  ASSERT_EQ(run().status, 0);
  const std::string best = folder.read("my.gguf");
  const RunResult again = run();
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_THAT(again.err, HasSubstr("was reached already, so nothing was trained"));
  EXPECT_EQ(folder.read("my.gguf"), best);
}

TEST_F(Train, AnotherRunsFilesAreLeftAlone) {
  ASSERT_EQ(run().status, 0);
  const std::string best = folder.read("my.gguf");
  folder.write("other.txt", ship_sentences("<s>Once. "));
  expect_error(folder.lora({"train", "model.gguf", "other.txt", "-o", "my"}), 1,
               "my.toml: it is of a run on text.txt, not on other.txt: -o gives this one another name");
  EXPECT_EQ(run({"--checkpoint-in", ""}).status, 0);  // begun anew over it
  std::filesystem::remove(folder.at("my.toml"));
  expect_error(run(), 1, "my.md: is there already");
  expect_error(run({"--checkpoint-in", ""}), 1, "my.md: is there already");  // nothing says whose it is
  for (const char* name : {"my.md", "my.svg", "my.Modelfile"}) std::filesystem::remove(folder.at(name));
  expect_error(run(), 1, "my.gguf: is there already");
  EXPECT_EQ(folder.read("my.gguf"), best);
}

// What it reads, what its run writes, and what others wrote.
TEST_F(Train, NoFileIsWrittenOver) {
  const std::string text = ship_sentences();
  for (const char* name : {"notes.md", "notes.svg", "notes.toml", "notes.Modelfile"}) {
    folder.write(name, text);
    const Args command = {"train", "model.gguf", "text.txt", "-o", "notes", "--epochs", "1"};
    for (const Args& more : {Args{}, Args{"--checkpoint-in", ""}}) {
      expect_error(folder.lora(command + more), 1, std::string(name) + ": is there already");
      expect_error(folder.lora(Args{"train", "model.gguf", name, "-o", "notes"} + more), 1, name);
    }
    EXPECT_EQ(folder.read(name), text) << name;
    std::filesystem::remove(folder.at(name));
  }
  const std::set<std::string> before = folder.names();
  for (const Args& more : {Args{"--lora-out", "my.svg", "--val-split", "0"}, Args{"--best-out", "my.md"},
                           Args{"--checkpoint-out", "my.md"}, Args{"--metrics", "my.md"}})
    expect_error(run(more), 1, "would be written over");
  expect_error(run({"--best-out", "text.txt"}), 1, "text.txt");
  if (is_posix()) {  // no name of Windows has both quotes
    folder.write("a'\"b.txt", text);
    expect_error(folder.lora({"train", "model.gguf", "a'\"b.txt", "-o", "my"}), 1,
                 "a settings file holds no name");
    std::filesystem::remove(folder.at("a'\"b.txt"));
  }
  EXPECT_EQ(folder.names(), before);
  EXPECT_EQ(folder.read("text.txt"), text);
}

TEST_F(Train, KilledItGoesOnWithAConfigFileAndWithFilesOfItsOwn) {
  folder.write("c.toml", "lora-alpha = 8\n");
  for (const Args& more : {Args{"--config", "c.toml"},
                           Args{"--checkpoint-out", "c-ITERATION.gguf", "--lora-out", "l-ITERATION.gguf",
                                "--checkpoint-in", "c-LATEST.gguf", "--save-every", "1"}}) {
    ASSERT_EQ(run(more).status, 0);
    const std::string best = folder.read("my.gguf");
    for (const std::string& name : folder.names()) {
      if (name.starts_with("my") || name.starts_with("c-") || name.starts_with("l-"))
        std::filesystem::remove(folder.at(name));
    }
    RunOptions options;
    options.signal_on = [](std::string_view err) { return err.find("iter=     4 ") == err.npos ? 0 : kKill; };
    EXPECT_NE(run(more, options).status, 0);
    const RunResult resumed = run(more);
    EXPECT_EQ(resumed.status, 0) << resumed.err;
    EXPECT_EQ(folder.read("my.gguf"), best);
    for (const std::string& name : folder.names()) {
      if (name.starts_with("my") || name.starts_with("c-") || name.starts_with("l-"))
        std::filesystem::remove(folder.at(name));
    }
  }
}

TEST_F(Train, BeginningAnewIsDoneOnce) {
  ASSERT_EQ(run({"--checkpoint-in", ""}).status, 0);
  const std::string best = folder.read("my.gguf");
  const RunResult again = run();
  EXPECT_THAT(again.err, HasSubstr("so nothing was trained"));
  EXPECT_EQ(folder.read("my.gguf"), best);
}

TEST_F(Train, OfARunThatWasBegunItSaysWhatIsLeftAndWhatIsNotUsed) {
  ASSERT_EQ(run().status, 0);
  const RunResult dry = run({"--dry-run", "--quality", "best"});
  EXPECT_EQ(dry.status, 0) << dry.err;
  EXPECT_THAT(dry.out, HasSubstr("0 iterations"));
  EXPECT_THAT(dry.err, HasSubstr("warning: --quality is not used: this run was begun before"));
  folder.write("text.txt", ship_sentences() + "<s>One more.");
  const RunResult changed = run();
  EXPECT_EQ(changed.status, 1);
  EXPECT_THAT(changed.err,
              AllOf(HasSubstr("--train-data is another text"), HasSubstr("-o NAME begins another run"),
                    Not(HasSubstr("--checkpoint-out"))));
}

TEST_F(Train, AModelWithoutATemplateIsAskedInTheOneItLearned) {
  folder.write("faq.csv", "Question,Answer\nWhat is fog?,A cloud.\nWhat is rain?,Water.\n");
  const RunResult trained = folder.lora({"train", "model.gguf", "faq.csv", "-o", "my", "--epochs", "1"});
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_THAT(trained.err,
              AllOf(HasSubstr("warning: no samples are held out"), HasSubstr("so nothing tells")));
  const std::string mark = "  lora       lora ";
  const size_t begin = trained.err.find(mark) + mark.size();
  const std::string command = trained.err.substr(begin, trained.err.find('\n', begin) - begin);
  EXPECT_THAT(command, HasSubstr("--chat --chat-template vicuna"));
  EXPECT_THAT(folder.read("my.md"), HasSubstr("written with the template vicuna"));
  if (!is_posix()) return;
  folder.write("use.sh", fmt::format("exec {} {} -n 4\n", LORA_PROGRAM, command));
  const RunResult used =
      run_program({"/bin/sh", "use.sh"}, {.directory = folder.path, .input = "What is fog?\n"});
  EXPECT_EQ(used.status, 0) << used.err;
}

// Conversations in a model's own turns: of these the replies are learned, with what ends them.
TEST_F(Train, ConversationsInTurnsOfTheNewFamilies) {
  std::string chats;
  for (int i = 0; i < 40; ++i) {
    chats += fmt::format(R"({{"messages": [{{"role": "user", "content": "Who sails ship {}?"}}, )"
                         R"({{"role": "assistant", "content": "Captain {} does."}}]}})"
                         "\n",
                         i, i % 7);
  }
  folder.write("chats.jsonl", chats);
  struct Row {
    const char *family, *chat_template, *learned;
  };
  for (const auto& [family, chat_template, learned] :
       {Row{"gemma4", "gemma4", "<|turn>model\n{+Captain "},
        Row{"qwen35", LORA_SHARED_DIR "/templates/qwen3_6.jinja", "<think>\n{+\n</think>\n\nCaptain "}}) {
    const std::string model = fmt::format("{}/golden/families/{}/model.gguf", LORA_SHARED_DIR, family);
    if (!std::filesystem::exists(model)) GTEST_SKIP() << model << " is not here";
    const RunResult trained =
        folder.lora({"train", model, "chats.jsonl", "-o", family, "--epochs", "1", "--threads", "1",
                     "--lora-r", "2", "--chat-template", chat_template});
    ASSERT_EQ(trained.status, 0) << trained.err;
    EXPECT_TRUE(folder.has(std::string(family) + ".gguf"));
    EXPECT_THAT(trained.err, HasSubstr("held-out loss: "));
    const RunResult dry = folder.lora(
        {"train", model, "chats.jsonl", "-o", "dry", "--chat-template", chat_template, "--dry-run"});
    ASSERT_EQ(dry.status, 0) << dry.err;
    EXPECT_THAT(dry.out, HasSubstr(learned)) << family;
    EXPECT_THAT(dry.out, Not(HasSubstr("{+Who"))) << family;
  }
}

TEST_F(Train, WhatIsAskedForIsNotChosen) {
  const RunResult dry = run({"--dry-run", "--ctx", "40", "--batch", "3", "--adam-alpha", "0.01",
                             "--val-split", "0", "--window", "0"});
  ASSERT_EQ(dry.status, 0) << dry.err;
  EXPECT_THAT(dry.out,
              AllOf(HasSubstr(" --ctx 40 "), HasSubstr(" --batch 3 "), HasSubstr(" --adam-alpha 0.01 "),
                    Not(HasSubstr("--eval-every")), Not(HasSubstr("--sample-start"))));
  EXPECT_THAT(dry.out, Not(HasSubstr("0.781")));
}

TEST_F(Train, DataOfEveryKindIsFoundOut) {
  folder.write("prose.txt", std::string(6000, 'a') + "\n\nIt was a dark night.\n");
  folder.write("r.jsonl", R"({"instruction":"Say it","output":"It."})"
                          "\n"
                          R"({"instruction":"Say that","output":"That."})"
                          "\n");
  std::filesystem::create_directory(folder.at("chats"));
  folder.write("chats/a.jsonl", R"({"user_name":"You","character_name":"Ann"})"
                                "\n"
                                R"({"name":"You","is_user":true,"mes":"Hello."})"
                                "\n"
                                R"({"name":"Ann","is_user":false,"mes":"Good day."})"
                                "\n");
  const auto out = [&](const std::string& data) {
    const RunResult dry = folder.lora({"train", "model.gguf", data, "--dry-run"});
    EXPECT_EQ(dry.status, 0) << dry.err;
    return dry.out;
  };
  EXPECT_THAT(out("prose.txt"), HasSubstr("1 text of prose"));
  EXPECT_THAT(out("r.jsonl"), AllOf(HasSubstr("records in 1 file"), HasSubstr("too few to hold some out"),
                                    HasSubstr("--lora-out r-lora.gguf"), Not(HasSubstr("--save-best"))));
  EXPECT_THAT(out("chats"),
              AllOf(HasSubstr("1 chat of SillyTavern"), HasSubstr("template writes conversations"),
                    HasSubstr("the model has no template of its own")));
  folder.write("marked.txt", "<s>a b\n<s>c d\n<s>e f\n");
  expect_error(folder.lora({"train", "model.gguf", "prose.txt", "marked.txt"}), 1,
               "marked.txt: its samples are told apart by '<s>', those of prose.txt by nothing");
}

TEST_F(Train, BadInputIsOneErrorAndLeavesNothing) {
  const std::set<std::string> before = folder.names();
  expect_error(folder.lora({"train"}), 2, "MODEL: required");
  expect_error(folder.lora({"train", "model.gguf"}), 2, "DATA: required");
  expect_error(folder.lora({"train", "no.gguf", "text.txt"}), 1, "no.gguf");
  expect_error(folder.lora({"train", "model.gguf", "no.txt"}), 1, "no.txt");
  expect_error(folder.lora({"train", "model.gguf", "text.txt", "-o", "no/my"}), 1, "no/my");
  expect_error(folder.lora({"train", "model.gguf", "text.txt", "-o", "./"}), 1,
               "expected a name, not a folder");
  expect_error(folder.lora({"train", "model.gguf", "text.txt", "--quality", "superb"}), 2,
               "expected quick, good or best");
  expect_error(folder.lora({"train", "model.gguf", "text.txt", "--hours", "0"}), 2, "--hours");
  expect_error(run({"-o", "no/my", "--dry-run"}), 1, "no/my");
  EXPECT_EQ(folder.names(), before);
}

// Sentences that have nothing in common: what is learned by heart does not carry over.
TEST_F(Train, OvertrainingEndsTheRunAndTheBestIsHandedOver) {
  std::string text;
  uint32_t state = 1;
  for (int i = 0; i < 40; ++i) {
    text += "<s>";
    for (int k = 0; k < 12; ++k) {
      state = state * 1664525u + 1013904223u;
      text += static_cast<char>('a' + (state >> 24) % 26);
      if (k % 4 == 3) text += ' ';
    }
    text += '\n';
  }
  folder.write("noise.txt", text);
  const RunResult trained = folder.lora({"train", "model.gguf", "noise.txt", "-o", "my", "--epochs", "60"});
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_THAT(trained.err, AllOf(HasSubstr("--patience: "), HasSubstr("it learned the samples by heart"),
                                 HasSubstr("my.gguf is the adapter from before that")));
  EXPECT_NE(folder.read("my.gguf"), folder.read("my-last.gguf"));
}

}  // namespace train_test
}  // namespace lora::test
