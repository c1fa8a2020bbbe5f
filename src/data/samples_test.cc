#include "data/samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "data/data_test_util.h"

namespace lora {
namespace samples_test {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr Token kBos = 1, kEos = 2;  // of the bundled model

TextOptions cut_at(const std::string& pattern) {
  TextOptions options;
  options.sample_start = pattern;
  return options;
}

Tokens encode(const std::string& text, bool parse_special = false) {
  return tiny_tokenizer().encode(text, parse_special);
}

// Inputs BOS t1 ... t(n-1), targets t1 ... tn.
InputsTargets with_bos(const Tokens& t) {
  Tokens inputs = {kBos};
  inputs.insert(inputs.end(), t.begin(), t.end() - 1);
  return {inputs, t};
}
InputsTargets without_bos(const Tokens& t) {
  return {Tokens(t.begin(), t.end() - 1), Tokens(t.begin() + 1, t.end())};
}
Tokens and_eos(Tokens t) {
  t.push_back(kEos);
  return t;
}

std::vector<InputsTargets> samples_of(const std::string& text, const TextOptions& options) {
  return all_samples(dataset_of(text, tiny_tokenizer(), options));
}

TEST(Samples, EachIsTokenizedOnItsOwnBetweenBosAndEos) {
  EXPECT_THAT(samples_of("#the whale#the sea", cut_at("#")),
              ElementsAre(with_bos(and_eos(encode("the whale"))), with_bos(and_eos(encode("the sea")))));
}

TEST(Samples, WithoutEos) {
  TextOptions options = cut_at("#");
  options.separate_with_eos = false;
  EXPECT_THAT(samples_of("#the whale", options), ElementsAre(with_bos(encode("the whale"))));
}

TEST(Samples, WithoutBos) {
  TextOptions options = cut_at("#");
  options.separate_with_bos = false;
  EXPECT_THAT(samples_of("#the whale", options), ElementsAre(without_bos(and_eos(encode("the whale")))));
}

TEST(Samples, TextBeforeTheFirstOccurrenceIsASample) {
  EXPECT_THAT(samples_of("the sky#the whale", cut_at("#")),
              ElementsAre(with_bos(and_eos(encode("the sky"))), with_bos(and_eos(encode("the whale")))));
}

TEST(Samples, IncludedPatternIsTokenizedWithItsSample) {
  TextOptions options = cut_at("### ");
  options.include_sample_start = true;
  EXPECT_THAT(samples_of("### the whale", options), ElementsAre(with_bos(and_eos(encode("### the whale")))));
}

TEST(Samples, BlankOnesAreSkippedAndCounted) {
  const Dataset dataset = dataset_of("#the whale## \n\n#the sea#", tiny_tokenizer(), cut_at("#"));
  EXPECT_EQ(dataset.n_samples(), 2);
  EXPECT_EQ(dataset.report().n_blank, 3);
}

TEST(Samples, LongOnesAreCutAndCounted) {
  const Tokens t = encode("the whale and the sea");
  TextOptions options = cut_at("#");
  options.n_ctx = 3;
  const Dataset dataset = dataset_of("#the whale and the sea#sea", tiny_tokenizer(), options);
  EXPECT_THAT(all_samples(dataset),
              ElementsAre(with_bos({t[0], t[1], t[2]}), with_bos(and_eos(encode("sea")))));
  EXPECT_EQ(dataset.report().n_cut, 1);
  EXPECT_EQ(dataset.report().longest, int64_t(t.size()) + 1);
  EXPECT_EQ(dataset.report().n_tokens, 3 + int64_t(encode("sea").size()) + 1);
}

TEST(Samples, EosIsLeftOutWhereTheContextIsFull) {
  const Tokens t = encode("the whale");
  TextOptions options = cut_at("#");
  options.n_ctx = int64_t(t.size());
  EXPECT_THAT(samples_of("#the whale", options), ElementsAre(with_bos(t)));
  options.n_ctx += 1;
  EXPECT_THAT(samples_of("#the whale", options), ElementsAre(with_bos(and_eos(t))));
}

TEST(Samples, OneLineOfTextIsOneSample) {
  EXPECT_THAT(samples_of("the whale", cut_at("#")), ElementsAre(with_bos(and_eos(encode("the whale")))));
}

TEST(Samples, TenThousandOfOneWord) {
  std::string text;
  for (int i = 0; i < 10000; ++i) text += i % 2 == 0 ? "\nsea" : "\nwhale";
  const Dataset dataset = dataset_of(text, tiny_tokenizer(), cut_at("\n"), 2);
  ASSERT_EQ(dataset.n_samples(), 10000);
  const std::vector<InputsTargets> samples = all_samples(dataset);
  const InputsTargets sea = with_bos(and_eos(encode("sea"))), whale = with_bos(and_eos(encode("whale")));
  for (size_t i = 0; i < samples.size(); ++i)
    ASSERT_EQ(samples[i], i % 2 == 0 ? sea : whale) << "sample " << i;
}

TEST(Samples, CarriageReturnBeforeLineEndIsDropped) {
  const auto expected = samples_of("#the\nwhale#\nsea", cut_at("#"));
  EXPECT_EQ(samples_of("#the\r\nwhale#\r\nsea", cut_at("#")), expected);
  EXPECT_EQ(samples_of("--\r\nthe whale", cut_at("--\n")), samples_of("--\nthe whale", cut_at("--\n")));
  EXPECT_EQ(samples_of("a--\r\nthe whale", cut_at("--\r\n")), samples_of("a--\nthe whale", cut_at("--\n")));
}

TEST(Samples, ByteOrderMarkIsDropped) {
  EXPECT_EQ(samples_of("\xEF\xBB\xBF#the whale", cut_at("#")), samples_of("#the whale", cut_at("#")));
}

TEST(Samples, LiteralBosSpellingAsPatternIsASeparatorOnly) {
  const Dataset dataset = dataset_of("<s>the whale<s>the sea", tiny_tokenizer(), cut_at("<s>"));
  EXPECT_THAT(all_samples(dataset),
              ElementsAre(with_bos(and_eos(encode("the whale"))), with_bos(and_eos(encode("the sea")))));
  EXPECT_EQ(dataset.report().special_spelling, -1);
}

TEST(Samples, SpecialSpellingInTheTextIsPlainTextAndReported) {
  const Dataset dataset = dataset_of("#the whale</s>", tiny_tokenizer(), cut_at("#"));
  EXPECT_THAT(all_samples(dataset), ElementsAre(with_bos(and_eos(encode("the whale</s>")))));
  EXPECT_EQ(dataset.report().special_spelling, kEos);
}

TEST(Samples, ParseSpecialReadsThemAndReportsNothing) {
  TextOptions options = cut_at("#");
  options.parse_special = true;
  const Dataset dataset = dataset_of("#the whale</s>the sea", tiny_tokenizer(), options);
  const Tokens t = encode("the whale</s>the sea", true);
  EXPECT_THAT(t, testing::Contains(kEos));
  EXPECT_THAT(all_samples(dataset), ElementsAre(with_bos(and_eos(t))));
  EXPECT_EQ(dataset.report().special_spelling, -1);
}

TEST(Samples, BosIsNeverThereTwice) {
  TextOptions options = cut_at("<s>");
  options.include_sample_start = true;
  options.parse_special = true;
  const auto samples = samples_of("<s>the whale", options);
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_EQ(samples[0].first[0], kBos);
  EXPECT_EQ(std::count(samples[0].first.begin(), samples[0].first.end(), kBos), 1);
  EXPECT_EQ(std::count(samples[0].second.begin(), samples[0].second.end(), kBos), 0);
}

TEST(Samples, SeveralFilesAreCutOnTheirOwnInOrder) {
  const ScratchFile one("1.txt", "the whale"), two("2.txt", "#the sea");
  ThreadPool pool(1);
  const Dataset dataset({one.path, two.path}, tiny_tokenizer(), cut_at("#"), pool);
  EXPECT_THAT(all_samples(dataset),
              ElementsAre(with_bos(and_eos(encode("the whale"))), with_bos(and_eos(encode("the sea")))));
}

TEST(Samples, VocabularyWithoutBos) {
  const Tokenizer letters = letters_tokenizer(true);
  const Dataset dataset = dataset_of("#abc#d", letters, cut_at("#"));
  EXPECT_THAT(all_samples(dataset),
              ElementsAre(InputsTargets({0, 1, 2}, {1, 2, 28}), InputsTargets({3}, {28})));
}

TEST(Samples, WithNeitherBosNorEosASingleTokenIsTooShort) {
  const Tokenizer letters = letters_tokenizer(false);
  const Dataset dataset = dataset_of("#abc#d", letters, cut_at("#"));
  EXPECT_THAT(all_samples(dataset), ElementsAre(InputsTargets({0, 1}, {1, 2})));
  EXPECT_EQ(dataset.report().n_short, 1);
}

TEST(Samples, ALongSampleIsTokenizedWhole) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "the whale and the sea ";
  TextOptions options = cut_at("#");
  options.n_ctx = 1 << 20;
  EXPECT_THAT(samples_of(text, options), ElementsAre(with_bos(and_eos(encode(text)))));
}

TEST(Samples, ThreadCountDoesNotMatter) {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += fmt::format("#sample {}{}\n", i, i % 3 == 0 ? " of the sea" : "");
  const Dataset one = dataset_of(text, tiny_tokenizer(), cut_at("#"), 1);
  const Dataset four = dataset_of(text, tiny_tokenizer(), cut_at("#"), 4);
  EXPECT_EQ(all_samples(one), all_samples(four));
  EXPECT_EQ(one.report().n_tokens, four.report().n_tokens);
}

// The text from each occurrence on, cut to the context; only the last sample ends, and gets EOS.
TEST(Overlapping, SamplesRunOnPastTheNextStart) {
  TextOptions options = cut_at("#");
  options.overlapping_samples = true;
  options.n_ctx = 6;
  const Tokens first = encode("the whale#the sea#and the sky over all the ships"),
               second = encode("the sea#and the sky over all the ships"),
               third = encode("and the sky over all the ships");
  ASSERT_GT(second.size(), 6u);
  ASSERT_GT(third.size(), 6u);
  const Dataset dataset =
      dataset_of("#the whale#the sea#and the sky over all the ships", tiny_tokenizer(), options);
  const auto six = [](const Tokens& t) { return with_bos(Tokens(t.begin(), t.begin() + 6)); };
  EXPECT_THAT(all_samples(dataset), ElementsAre(six(first), six(second), six(third)));
  EXPECT_EQ(dataset.report().n_cut, 1) << "the third one's own text";
  EXPECT_EQ(dataset.report().n_lost, int64_t(third.size()) - 6);
}

TEST(Overlapping, TheTextsEndIsASamplesEnd) {
  TextOptions options = cut_at("\n");
  options.overlapping_samples = options.include_sample_start = true;
  EXPECT_THAT(samples_of("\nthe whale\n \nthe sea", options),
              ElementsAre(with_bos(and_eos(encode("\nthe whale\n \nthe sea"))),
                          with_bos(and_eos(encode("\nthe sea")))));
}

TEST(Overlapping, EachHasTheTokensOfItsWholeRest) {
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    text += fmt::format("#{} whales and {}", i * 7919, std::string(size_t(i % 90), 'x'));
  }
  TextOptions options = cut_at("#");
  options.overlapping_samples = true;
  options.n_ctx = 300;
  const Dataset dataset = dataset_of(text, tiny_tokenizer(), options, 2);
  ASSERT_EQ(dataset.n_samples(), 3000);
  Tokens inputs, targets;
  for (int64_t i = 0; i < 3000; i += 500) {
    Tokens t = encode(text.substr(text.find(fmt::format("#{} ", i * 7919)) + 1));
    t.resize(300);
    dataset.sample(i, inputs, targets);
    EXPECT_EQ(targets, t) << i;
  }
}

TEST(Windows, EveryTokenPositionStartsOneWithBosAndWithoutEos) {
  TextOptions options;
  options.n_ctx = 2;
  const Tokens t = encode("the whale and");
  ASSERT_EQ(t.size(), 3u) << "the test wants a text of three tokens";
  const Dataset dataset = dataset_of("the whale and", tiny_tokenizer(), options);
  EXPECT_THAT(all_samples(dataset),
              ElementsAre(with_bos({t[0], t[1]}), with_bos({t[1], t[2]}), with_bos({t[2]})));
  EXPECT_EQ(dataset.report().n_cut, 0);
  EXPECT_EQ(dataset.report().n_tokens, 3);
}

TEST(Windows, WithoutBosTheLastTokenStartsNone) {
  TextOptions options;
  options.n_ctx = 3;
  EXPECT_THAT(
      all_samples(dataset_of("abcd", letters_tokenizer(true), options)),
      ElementsAre(InputsTargets({0, 1}, {1, 2}), InputsTargets({1, 2}, {2, 3}), InputsTargets({2}, {3})));
}

TEST(Windows, DoNotCrossFiles) {
  const ScratchFile one("1.txt", "ab"), two("2.txt", "cde");
  const Tokenizer letters = letters_tokenizer(false);
  TextOptions options;
  options.n_ctx = 4;
  ThreadPool pool(1);
  const Dataset dataset({one.path, two.path}, letters, options, pool);
  EXPECT_THAT(all_samples(dataset),
              ElementsAre(InputsTargets({0}, {1}), InputsTargets({2, 3}, {3, 4}), InputsTargets({3}, {4})));
}

TEST(Windows, AContextLongerThanTheTextTakesTheRest) {
  TextOptions options;
  options.n_ctx = 1000;
  const auto samples = samples_of("the whale and the sea", options);
  const Tokens t = encode("the whale and the sea");
  ASSERT_EQ(samples.size(), t.size());
  EXPECT_EQ(samples[0], with_bos(t));
  EXPECT_EQ(samples.back(), with_bos({t.back()}));
}

TEST(Windows, BosReadFromTheTextIsNotDoubled) {
  TextOptions options;
  options.parse_special = true;
  const Tokens t = encode("sea<s>sea<s>", true);
  ASSERT_EQ(t.back(), kBos);
  const auto samples = samples_of("sea<s>sea<s>", options);
  EXPECT_EQ(samples.size(), t.size() - 1) << "the last BOS has no target";
  for (const auto& [inputs, targets] : samples) {
    ASSERT_EQ(inputs[0], kBos);
    EXPECT_NE(targets[0], kBos);
  }
}

TEST(Windows, SpecialSpellingIsReported) {
  const Dataset dataset = dataset_of("the whale <s> the sea", tiny_tokenizer(), TextOptions());
  EXPECT_EQ(dataset.report().special_spelling, kBos);
}

// The message for a file of this name; it names the file.
std::string error_in(const std::string& name, const std::string& text, const TextOptions& options,
                     const Tokenizer& tokenizer = tiny_tokenizer()) {
  const ScratchFile file(name, text);
  ThreadPool pool(1);
  const std::string message = test::error_of([&] { Dataset({file.path}, tokenizer, options, pool); });
  if (!message.empty()) {
    EXPECT_THAT(message, HasSubstr(file.path));
  }
  return message;
}

TEST(SampleErrors, EmptyFile) {
  EXPECT_THAT(error_in("text.txt", "", TextOptions()), HasSubstr("no samples: the text is empty or blank"));
  EXPECT_THAT(error_in("text.txt", "", cut_at("#")), HasSubstr("no samples: the text is empty or blank"));
}
TEST(SampleErrors, BlankFile) {
  EXPECT_THAT(error_in("text.txt", " \n\t", TextOptions()), HasSubstr("no samples"));
  EXPECT_THAT(error_in("text.txt", "# # #", cut_at("#")), HasSubstr("no samples"));
}
TEST(SampleErrors, NothingButSingleTokensWithoutBosAndEos) {
  EXPECT_THAT(error_in("text.txt", "a", TextOptions(), letters_tokenizer(false)),
              HasSubstr("nothing to predict"));
}
TEST(SampleErrors, UnknownExtensionsAreText) {
  EXPECT_EQ(error_in("notes.md", "the whale", TextOptions()), "");
  EXPECT_EQ(error_in("notes", "the whale", TextOptions()), "");
}
TEST(SampleErrors, MissingFile) {
  ThreadPool pool(1);
  EXPECT_THAT(test::error_of([&] { Dataset({"no/such.txt"}, tiny_tokenizer(), TextOptions(), pool); }),
              HasSubstr("no/such.txt: cannot open"));
}
TEST(SampleErrors, ContextWithoutRoomForATarget) {
  TextOptions options;
  options.n_ctx = 0;
  EXPECT_THAT(test::error_of([&] { dataset_of("the whale", tiny_tokenizer(), options); }),
              HasSubstr("context length: expected at least 1"));
}

// What a checkpoint knows its data by.
TEST(Samples, TheHashIsThatOfTheFilesBytesInOrder) {
  std::string big =
      "\xEF\xBB\xBF"
      "the ship\r\n";
  while (big.size() < 300000) big += "sailed to the north and was seen by nobody again. ";
  const std::string line = "{\"text\": \"a\"}\r\n";
  const ScratchFile text("t.txt", big), list("r.jsonl", line);
  ThreadPool pool(1);
  TextOptions options;
  options.sample_start = "#";
  EXPECT_EQ(Dataset({text.path, list.path}, tiny_tokenizer(), options, pool).file_hash(), hash(big + line));
  EXPECT_EQ(Dataset({list.path, text.path}, tiny_tokenizer(), options, pool).file_hash(), hash(line + big));
}

}  // namespace samples_test
}  // namespace lora
