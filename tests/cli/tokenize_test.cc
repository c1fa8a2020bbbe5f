// `lora tokenize`: a text's tokens, and the samples of a training text.
#include <nlohmann/json.hpp>

#include "base/regex_test_util.h"
#include "cli_test.h"

namespace lora::test {
namespace tokenize_test {

using Args = std::vector<std::string>;
using json = nlohmann::ordered_json;

class Tokenize : public testing::Test {
 protected:
  Folder folder;

  json tokenized(const Args& flags) const {
    const RunResult run = folder.lora(Args{"tokenize", "-m", "model.gguf", "--json"} + flags);
    EXPECT_EQ(run.status, 0) << run.err;
    return parse_json(run.out);
  }
};

TEST_F(Tokenize, JsonHoldsIdsAndPiecesThatSpellTheText) {
  const std::string text = "The ship's 42 \"sails\".";
  const json with_bos = tokenized({"-p", text}), plain = tokenized({"-p", text, "--no-bos"});
  ASSERT_EQ(with_bos["ids"].size(), plain["ids"].size() + 1);
  EXPECT_EQ(with_bos["ids"].size(), with_bos["pieces"].size());
  EXPECT_EQ(with_bos["ids"][0], 1);
  EXPECT_EQ(json(with_bos["ids"].begin() + 1, with_bos["ids"].end()), plain["ids"]);
  std::string spelled;
  for (const json& piece : plain["pieces"]) spelled += piece.get<std::string>();
  EXPECT_EQ(spelled, " " + text);
}

// The bundled vocabulary spells this letter in two byte tokens; U+FFFD stands for each.
TEST_F(Tokenize, APieceThatIsPartOfACharacterIsStillValidJson) {
  EXPECT_EQ(tokenized({"-p", "\xc3\xa9", "--no-bos"})["pieces"], json({" ", "\xef\xbf\xbd", "\xef\xbf\xbd"}));
}

TEST_F(Tokenize, SpecialTokensAreReadOnlyWhereAskedForAndBosNeverDoubles) {
  EXPECT_EQ(tokenized({"-p", "<s>", "--parse-special"})["ids"], json({1}));
  EXPECT_GT(tokenized({"-p", "<s>"})["ids"].size(), 2u);
  EXPECT_EQ(tokenized({"-p", ""})["ids"], json({1}));
}

TEST_F(Tokenize, AFileIsReadAsItStands) {
  folder.write("text.txt", "The ship\r\nsailed\n");
  EXPECT_EQ(tokenized({"-f", "text.txt"}), tokenized({"-p", "The ship\r\nsailed\n"}));
}

TEST_F(Tokenize, TextOutputIsALinePerToken) {
  const RunResult run = folder.lora({"tokenize", "-m", "model.gguf", "-p", "The\nship"});
  EXPECT_EQ(lines_of(run.out).size(), tokenized({"-p", "The\nship"})["ids"].size());
  for (const std::string& line : lines_of(run.out)) EXPECT_THAT(line, matches_regex("[0-9]+\t'.*'"));
}

// A text without a place to cut is one list of symbols. What it takes is in proportion to it, and not a
// hundred times as much.
TEST_F(Tokenize, AWordOfMegabytesTakesMemoryInProportion) {
  constexpr int64_t kSmall = 1 << 19, kLarge = 5 << 20;
  const auto peak = [&](int64_t size, const Args& flags) {
    std::string word(size_t(size), 'a');
    for (size_t i = 0; i < word.size(); ++i) word[i] = char('a' + i * i % 23);
    folder.write("word.txt", word);
    const RunResult run = folder.lora(Args{"tokenize", "-m", "model.gguf", "-f", "word.txt"} + flags);
    EXPECT_EQ(run.status, 0) << run.err;
    return run.peak_bytes;
  };
  for (const Args& flags : {Args{}, Args{"--json"}}) {
    const int64_t more = peak(kLarge, flags) - peak(kSmall, flags);
    if (!LORA_INSTRUMENTED) {
      EXPECT_LT(more, 40 * (kLarge - kSmall));
    }
  }
}

TEST_F(Tokenize, AVocabularyAloneWillDo) {
  write_vocabulary(folder.at("vocabulary.gguf"));
  EXPECT_EQ(tokenized({"-m", "vocabulary.gguf", "-p", "The ship"}), tokenized({"-p", "The ship"}));
}

TEST_F(Tokenize, VocabularyFilesOfOthers) {
  int n = 0;
  for (const char* name : {"llama-spm", "llama-bpe", "gpt-2", "qwen2", "falcon", "deepseek-coder"}) {
    const std::string vocabulary = std::string(LORA_SHARED_DIR "/vocab/ggml-vocab-") + name + ".gguf";
    if (!std::filesystem::exists(vocabulary)) continue;
    const json got = tokenized({"-m", vocabulary, "--no-bos", "-p", "Hello, world! 123"});
    std::string spelled;
    for (const json& piece : got["pieces"]) spelled += piece.get<std::string>();
    EXPECT_THAT(spelled, testing::EndsWith("Hello, world! 123")) << name;
    ++n;
  }
  if (n == 0) GTEST_SKIP() << "no " LORA_SHARED_DIR "/vocab";
}

// The rules of data/samples.h, from the tokens of each text by itself: BOS before, EOS behind, targets one
// token on. EOS of the bundled model is 2, BOS 1.
TEST_F(Tokenize, SamplesOfATrainingText) {
  folder.write("text.txt", "<s>The ship sailed.<s>  \n<s>A cat");
  const json got = tokenized({"--train-data", "text.txt", "--sample-start", "<s>"});
  EXPECT_EQ(got["n_samples"], 2);
  EXPECT_EQ(got["n_blank"], 1);
  EXPECT_EQ(got["n_cut"], 0);
  ASSERT_EQ(got["samples"].size(), 2u);
  size_t n_tokens = 0;
  const char* const texts[] = {"The ship sailed.", "A cat"};
  for (size_t i = 0; i < 2; ++i) {
    const json t = tokenized({"-p", texts[i], "--no-bos"})["ids"];
    json inputs = {1}, targets = t;
    inputs.insert(inputs.end(), t.begin(), t.end());
    targets.push_back(2);
    EXPECT_EQ(got["samples"][i]["inputs"], inputs);
    EXPECT_EQ(got["samples"][i]["targets"], targets);
    EXPECT_THAT(got["samples"][i]["text"].get<std::string>(), testing::HasSubstr(texts[i]));
    n_tokens += targets.size();
  }
  EXPECT_EQ(got["n_tokens"], n_tokens);
}

TEST_F(Tokenize, TheFlagsOfFinetuneShapeTheSamples) {
  folder.write("text.txt", "The ship.\nsailed on and on");
  const json head = tokenized({"-p", "The ship.", "--no-bos"})["ids"];
  const json tail = tokenized({"-p", "\nsailed on and on", "--no-bos"})["ids"];
  ASSERT_GT(tail.size(), 4u);
  const Args flags = {"--train-data", "text.txt", "--sample-start",
                      "\\n",          "--escape", "--include-sample-start"};
  const json bare = tokenized(flags + Args{"--no-separate-with-bos", "--no-separate-with-eos"});
  ASSERT_EQ(bare["samples"].size(), 2u);
  EXPECT_EQ(bare["samples"][0]["inputs"], json(head.begin(), head.end() - 1));
  EXPECT_EQ(bare["samples"][0]["targets"], json(head.begin() + 1, head.end()));
  EXPECT_EQ(bare["samples"][1]["inputs"], json(tail.begin(), tail.end() - 1));
  // Cut to three tokens: neither EOS nor the rest has room.
  const json cut = tokenized(flags + Args{"--ctx", "3"});
  EXPECT_EQ(cut["samples"][1]["inputs"], json({1, tail[0], tail[1]}));
  EXPECT_EQ(cut["samples"][1]["targets"], json({tail[0], tail[1], tail[2]}));
  EXPECT_EQ(cut["n_cut"], 2);
}

TEST_F(Tokenize, SpecialTokensInSamples) {
  folder.write("text.txt", "# a</s>b");
  const Args flags = {"--train-data", "text.txt", "--sample-start", "#"};
  const auto n_eos = [&](const Args& more) {
    const json targets = tokenized(flags + more)["samples"][0]["targets"];
    return std::count(targets.begin(), targets.end(), 2);
  };
  EXPECT_EQ(n_eos({}), 1);
  EXPECT_EQ(n_eos({"--parse-special"}), 2);
}

TEST_F(Tokenize, WithoutAPatternEveryTokenStartsASample) {
  folder.write("text.txt", "The ship sailed on and on.");
  const json t = tokenized({"-f", "text.txt", "--no-bos"})["ids"];
  const json got = tokenized({"--train-data", "text.txt", "--ctx", "4", "-n", "1000"});
  EXPECT_EQ(got["n_samples"], t.size());
  ASSERT_EQ(got["samples"].size(), t.size());
  EXPECT_EQ(got["samples"][1]["inputs"], json({1, t[1], t[2], t[3]}));
  EXPECT_EQ(got["samples"][1]["targets"], json({t[1], t[2], t[3], t[4]}));
}

TEST_F(Tokenize, SamplesAsPiecesAreALinePerInputToken) {
  folder.write("text.txt", ship_sentences());
  const Args flags = {"--train-data", "text.txt", "--sample-start", "<s>"};
  const json samples = tokenized(flags)["samples"];
  ASSERT_EQ(samples.size(), 3u);
  const RunResult run = folder.lora(Args{"tokenize", "-m", "model.gguf", "-n", "2", "--pieces"} + flags);
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, testing::StartsWith("data: "));
  const std::vector<std::string> lines = lines_of(run.out);
  size_t at = 0;
  for (size_t i = 0; i < 2; ++i) {
    const json& inputs = samples[i]["inputs"];
    const json& targets = samples[i]["targets"];
    ASSERT_GT(lines.size(), at + inputs.size());
    EXPECT_EQ(lines[at++], "sample " + std::to_string(i + 1) + " of 40: " + std::to_string(inputs.size()) +
                               " tokens, " + std::to_string(inputs.size()) + " trained on");
    for (size_t k = 0; k < inputs.size(); ++k) {
      EXPECT_THAT(lines[at++],
                  matches_regex(inputs[k].dump() + "\t'.*'\t-> " + targets[k].dump() + "\t'.*'"));
    }
  }
  EXPECT_EQ(at, lines.size());
  EXPECT_EQ(lines[1].substr(0, lines[1].find("->")), "1\t'<s>'\t");
  EXPECT_THAT(run.out, testing::HasSubstr("-> 2\t'</s>'\n"));
}

TEST_F(Tokenize, WhatIsTrainedOnIsMarked) {
  folder.write(
      "chat.jsonl",
      R"({"messages": [{"role": "user", "content": "A ship?"}, {"role": "assistant", "content": "Two."}]})"
      "\n{\"text\": \"The end\"}\n{}\n");
  const RunResult run = folder.lora({"tokenize", "-m", "model.gguf", "--train-data", "chat.jsonl",
                                     "--chat-template", "vicuna", "--skip-bad-records"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, matches_regex("sample 1 of 2: [0-9]+ tokens, [0-9]+ trained on\n"
                                     "<s>USER: A ship\\? ASSISTANT:\\{\\+ Two\\.</s>\\+\\}\n"
                                     "sample 2 of 2: [0-9]+ tokens, [0-9]+ trained on\n"
                                     "<s>\\{\\+The end</s>\\+\\}\n"));
  EXPECT_THAT(run.err,
              testing::HasSubstr("data: 1 bad record skipped, the first: chat.jsonl: line 3: found"));
}

// What finetune says of the data is seen before a long run.
TEST_F(Tokenize, WhatIsWrongWithTheSamplesIsSaid) {
  folder.write("text.txt", "A ship.\n<s>The caf\xe9 was closed, and the men went home.");
  const RunResult run = folder.lora(
      {"tokenize", "-m", "model.gguf", "--train-data", "text.txt", "--sample-start", "<S>", "--ctx", "8"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, testing::HasSubstr("1 cut at 8 tokens"));
  EXPECT_THAT(run.err, testing::HasSubstr("warning: --sample-start: '<S>' does not occur in text.txt"));
  EXPECT_THAT(run.err, testing::HasSubstr("warning: text.txt: line 2 is not UTF-8"));
  folder.write("a.csv", "text\nThe caf\xe9 was closed.\n");
  const RunResult table = folder.lora({"tokenize", "--model-base", "model.gguf", "--train-data", "a.csv"});
  EXPECT_THAT(table.err, testing::HasSubstr("warning: a.csv: line 2 is not UTF-8"));
  folder.write("b.txt", "{\"text\": \"A ship.\"}\n");
  const RunResult named = folder.lora({"tokenize", "-m", "model.gguf", "--train-data", "b.txt"});
  EXPECT_THAT(named.err, testing::HasSubstr("warning: b.txt begins with a JSON object"));
  folder.write("a.jsonl", R"({"text":"A ship."})");
  const RunResult records =
      folder.lora({"tokenize", "-m", "model.gguf", "--train-data", "a.jsonl", "--sample-start", "<s>"});
  EXPECT_EQ(records.status, 0) << records.err;
  EXPECT_THAT(records.err, testing::HasSubstr("warning: --sample-start cuts texts"));
}

TEST_F(Tokenize, FilledRowsAreShownAsTheyAreCut) {
  folder.write("text.txt", "<s>The ship sailed to the north.<s>The whale swam.<s>There was a king.");
  const Args flags = {"--train-data", "text.txt", "--sample-start", "<s>"};
  const json apart = tokenized(flags)["samples"];
  const size_t first = apart[0]["inputs"].size(), second = apart[1]["inputs"].size();
  const json rows =
      tokenized(flags + Args{"--fill-with-next-samples", "--ctx", std::to_string(first + 2)})["samples"];
  EXPECT_EQ(rows[0]["inputs"], apart[0]["inputs"]);
  EXPECT_EQ(rows[1]["inputs"].size(), 2u) << "cut where the row is full, of " << second;
  EXPECT_EQ(rows[1]["row"], 1);
  EXPECT_EQ(rows[2]["inputs"], apart[2]["inputs"]);
  EXPECT_EQ(rows[2]["row"], 2);
}

TEST_F(Tokenize, SamplesOfAVocabularyAlone) {
  write_vocabulary(folder.at("vocabulary.gguf"));
  folder.write("text.txt", ship_sentences());
  const Args flags = {"--train-data", "text.txt", "--sample-start", "<s>"};
  EXPECT_EQ(tokenized(Args{"-m", "vocabulary.gguf"} + flags), tokenized(flags));
}

TEST_F(Tokenize, ATextAndATrainingTextExcludeEachOther) {
  folder.write("text.txt", "The ship");
  const auto refused = [&](const Args& flags, int status, const std::string& what) {
    expect_error(folder.lora(Args{"tokenize", "-m", "model.gguf"} + flags), status, what);
  };
  refused({}, 2, "--prompt: required, or --file or --train-data");
  refused({"--train-data", "text.txt", "-p", "a"}, 2, "--train-data: not together with --prompt or --file");
  refused({"-f", "text.txt", "--train-data", "text.txt"}, 2, "--train-data: not together with");
  refused({"--train-data", "text.txt", "--no-bos"}, 2, "--no-bos: of a text alone");
  refused({"-p", "a", "--sample-start", "#"}, 2, "--sample-start: only with --train-data");
  refused({"-p", "a", "-n", "2"}, 2, "--n-samples: only with --train-data");
  refused({"--train-data", "none.txt"}, 1, "none.txt");
  folder.write("blank.txt", " \n");
  refused({"--train-data", "blank.txt"}, 1, "blank.txt: no samples");
}

}  // namespace tokenize_test
}  // namespace lora::test
