// What finetune makes of records, and of samples of different lengths: losses of its first iteration.
#include <cmath>
#include <nlohmann/json.hpp>

#include "cli_test.h"

namespace lora::test {
namespace records_test {

using Args = std::vector<std::string>;
using json = nlohmann::ordered_json;

class Records : public testing::Test {
 protected:
  Folder folder;

  // The metrics of the first iteration.
  json first(const std::string& data, const Args& flags) const {
    const RunResult run = folder.lora(Args{"finetune",   "-m",
                                           "model.gguf", "--train-data",
                                           data,         "--checkpoint-in",
                                           "",           "--checkpoint-out",
                                           "",           "--lora-out",
                                           "",           "--ctx",
                                           "256",        "--adam-iter",
                                           "1",          "--seed",
                                           "5",          "--precision",
                                           "f32",        "--no-shuffle",
                                           "--metrics",  "m.jsonl"} +
                                      flags);
    EXPECT_EQ(run.status, 0) << run.err;
    return parse_json(folder.read("m.jsonl"));
  }
  double sum(const json& metrics) const {
    return metrics["loss"].get<double>() * metrics["tokens"].get<double>();
  }
};

constexpr double kRounding = 2e-6;  // relative, of f32 sums in another order

// A conversation's loss is that of everything less that of what the assistant did not say, which comes
// before.
TEST_F(Records, TheLossCountsExactlyTheAssistantsTokens) {
  folder.write("chat.jsonl", R"({"messages": [{"role": "user", "content": "Where is the ship?"},)"
                             R"( {"role": "assistant", "content": "It sailed to the north."}]})");
  folder.write("question.jsonl", R"({"text": "USER: Where is the ship? ASSISTANT:"})");
  const Args chat = {"--batch", "1", "--chat-template", "vicuna"};
  const json reply = first("chat.jsonl", chat), all = first("chat.jsonl", chat + Args{"--train-on", "all"}),
             question = first("question.jsonl", chat + Args{"--no-separate-with-eos"});
  EXPECT_EQ(reply["tokens"].get<int>() + question["tokens"].get<int>(), all["tokens"].get<int>());
  EXPECT_NEAR(sum(reply) + sum(question), sum(all), kRounding * sum(all));

  const RunResult tokens = folder.lora({"tokenize", "-m", "model.gguf", "--json", "--no-bos", "-p",
                                        "It sailed to the north.</s>", "--parse-special"});
  EXPECT_EQ(reply["tokens"], parse_json(tokens.out)["ids"].size());
}

TEST_F(Records, OneWithNothingToTrainOnIsAnErrorWithItsLine) {
  folder.write("chat.jsonl",
               "{\"text\": \"fine\"}\n{\"messages\": [{\"role\": \"user\", \"content\": \"Where?\"}]}\n");
  const Args flags = {"finetune",
                      "-m",
                      "model.gguf",
                      "--train-data",
                      "chat.jsonl",
                      "--checkpoint-in",
                      "",
                      "--chat-template",
                      "vicuna",
                      "--adam-iter",
                      "1",
                      "--lora-out",
                      "",
                      "--checkpoint-out",
                      ""};
  expect_error(folder.lora(flags), 1, "chat.jsonl: line 2: nothing to train on: the assistant says nothing");
  const RunResult skipped = folder.lora(flags + Args{"--skip-bad-records"});
  EXPECT_EQ(skipped.status, 0) << skipped.err;
  EXPECT_THAT(skipped.err,
              testing::HasSubstr("1 bad record skipped, the first: chat.jsonl: line 2: nothing"));
  expect_error(folder.lora(flags + Args{"--train-on", "some"}), 2,
               "--train-on: expected completion or all, found 'some'");
}

TEST_F(Records, FieldsAreRefusedByNameOrListedOnce) {
  const Args tokenize = {"tokenize", "-m",           "model.gguf", "--chat-template",
                         "vicuna",   "--train-data", "a.jsonl"};
  const std::string reply =
      R"({"messages": [{"role": "assistant", "content": "Yes.", "name": "Bo"}], "id": 7})";
  folder.write("a.jsonl", reply + "\n" + reply + "\n");
  const RunResult listed = folder.lora(tokenize);
  EXPECT_EQ(listed.status, 0);
  EXPECT_THAT(
      listed.err,
      testing::HasSubstr("data: ignored fields, and in how many records: id (2), messages[].name (2)\n"));
  folder.write("a.jsonl", reply + "\n{\"text\": \"x\", \"tools\": [{\"type\": \"function\"}]}\n");
  expect_error(folder.lora(tokenize), 1, "a.jsonl: line 2: tools: texts are trained on as they stand");
  const RunResult skipped = folder.lora(tokenize + Args{"--skip-bad-records"});
  EXPECT_EQ(skipped.status, 0);
  EXPECT_THAT(skipped.err, testing::HasSubstr("1 bad record skipped, the first: a.jsonl: line 2: tools:"));
}

TEST_F(Records, ColumnsMayHaveOtherNames) {
  folder.write("a.csv", "frage,\"antwort, kurz\"\nWhere?,There.\n");
  const Args tokenize = {"tokenize", "-m", "model.gguf", "--train-data", "a.csv", "--columns"};
  const RunResult shown = folder.lora(tokenize + Args{"prompt=frage,\"completion=antwort, kurz\""});
  EXPECT_EQ(shown.status, 0) << shown.err;
  EXPECT_THAT(shown.out, testing::HasSubstr("Where?{+There.</s>+}"));
  expect_error(folder.lora(tokenize + Args{"prompt=frage,completion=antwort"}), 1,
               "a.csv: line 1: --columns: there is no column antwort; found frage, antwort, kurz");
  expect_error(folder.lora(tokenize + Args{"prompt=frage,reply=antwort"}), 2,
               "--columns: no form of record has a field reply; there are messages, ");
  folder.write("a.jsonl", "{\"text\": \"a\"}\n");
  expect_error(
      folder.lora({"tokenize", "-m", "model.gguf", "--train-data", "a.jsonl", "--columns", "system=s"}), 1,
      "a.jsonl: --columns: no record has a field s");
}

TEST_F(Records, AMessageOfWeightZeroIsShownAsContext) {
  folder.write(
      "a.jsonl",
      R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "bad", "weight": 0},)"
      R"( {"role": "user", "content": "x"}, {"role": "assistant", "content": "good", "weight": 1}]})");
  const RunResult shown = folder.lora(
      {"tokenize", "-m", "model.gguf", "--chat-template", "vicuna", "--train-data", "a.jsonl", "-c", "256"});
  EXPECT_THAT(shown.out, testing::HasSubstr("USER: hi ASSISTANT: bad</s>USER: x ASSISTANT:{+ good</s>+}"));
}

// Of different lengths, and with parts that are not trained on: the mean is over all target tokens.
TEST_F(Records, BatchesAndAccumulationGiveTheMeanOverAllTargets) {
  folder.write(
      "a.jsonl",
      "{\"prompt\": \"The ship\", \"completion\": \" sailed to the north and was not seen again.\"}\n"
      "{\"prompt\": \"Call me\", \"completion\": \" Ishmael.\"}\n"
      "{\"text\": \"The whale\"}\n"
      "{\"prompt\": \"There was a king who had twelve daughters,\", \"completion\": \" each of them\"}\n");
  const json whole = first("a.jsonl", {"--batch", "4"});
  for (const Args& flags :
       {Args{"--batch", "1", "--grad-acc", "4"}, Args{"--batch", "2", "--grad-acc", "2"}}) {
    const json parts = first("a.jsonl", flags);
    EXPECT_EQ(parts["tokens"], whole["tokens"]);
    EXPECT_NEAR(parts["loss"].get<double>() / whole["loss"].get<double>(), 1, kRounding);
    EXPECT_NEAR(parts["grad_norm"].get<double>() / whole["grad_norm"].get<double>(), 1, 1e-5);
  }
}

// Three samples that fill one row to its end are, for the model, three samples.
TEST_F(Records, FilledRowsKeepSamplesApart) {
  folder.write("text.txt", "<s>The ship sailed to the north.<s>The whale swam.<s>There was a king.");
  const Args cut = {"--sample-start", "<s>"};
  const json apart = first("text.txt", cut + Args{"--batch", "3"});
  const std::string n = apart["tokens"].dump();
  const json filled = first("text.txt", cut + Args{"--batch", "1", "--ctx", n, "--fill-with-next-samples"}),
             plain = first("text.txt", cut + Args{"--batch", "1", "--ctx", n, "--plain-fill"});
  EXPECT_EQ(filled["tokens"], apart["tokens"]);
  EXPECT_EQ(plain["tokens"], apart["tokens"]);
  EXPECT_NEAR(filled["loss"].get<double>() / apart["loss"].get<double>(), 1, kRounding);
  EXPECT_NEAR(filled["grad_norm"].get<double>() / apart["grad_norm"].get<double>(), 1, 1e-5);
  EXPECT_GT(std::abs(plain["loss"].get<double>() / apart["loss"].get<double>() - 1), 1e-3);
}

// A run goes on with the date that it began with, whatever day it is by then.
TEST_F(Records, DateThatATemplateWritesStaysTheRunsOwn) {
  folder.write(
      "t.jinja",
      "{% for m in messages %}<{{ m.role }}>{{ strftime_now('%d %b %Y') }} {{ m.content }}</s>{% endfor %}"
      "{% if add_generation_prompt %}<assistant>{% endif %}");
  folder.write("a.jsonl", R"({"question": "When?", "answer": "Now."})");
  const auto finetune = [&](const Args& flags) {
    return folder.lora(Args{"finetune", "-m", "model.gguf", "--train-data", "a.jsonl", "--chat-template",
                            "t.jinja", "--lora-out", "", "--checkpoint-out", "c.gguf", "--ctx", "128",
                            "--seed", "1"} +
                       flags);
  };
  ASSERT_EQ(finetune({"--adam-iter", "1", "--date", "2026-01-31"}).status, 0);
  const RunResult later = finetune({"--adam-iter", "2"});
  EXPECT_EQ(later.status, 0) << later.err;
  expect_error(finetune({"--adam-iter", "3", "--date", "2026-02-01"}), 1,
               "the conversations of --train-data are written down otherwise");
}

}  // namespace records_test
}  // namespace lora::test
