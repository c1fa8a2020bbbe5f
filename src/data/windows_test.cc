// Texts without a mark: consecutive windows, windows at every token, and what is counted of texts with one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "data/data_test_util.h"

namespace lora {
namespace windows_test {

using testing::ElementsAre;

constexpr Token kBos = 1, kEos = 2;  // of the bundled model

const std::string kText = "the whale and the sea and the ship that sailed to the north";

TextOptions windows_of(int64_t n) {
  TextOptions options;
  options.n_ctx = 64;
  options.window = n;
  return options;
}

Tokens encode(const std::string& text) {
  return tiny_tokenizer().encode(text, false);
}

// What the samples train on, one after the other.
Tokens targets_of(const Dataset& data) {
  Tokens all;
  for (const auto& [inputs, targets] : all_samples(data))
    all.insert(all.end(), targets.begin(), targets.end());
  return all;
}

TEST(Windows, EveryTokenIsATargetOnceAndTheTextsEndIsTrained) {
  Tokens text = encode(kText);
  text.push_back(kEos);
  for (const int64_t n : {3, 4, 5, 7}) {
    if ((text.size() - 1) % size_t(n) == 0) continue;  // below
    const Dataset data = dataset_of(kText, tiny_tokenizer(), windows_of(n));
    EXPECT_EQ(targets_of(data), text) << n;
    EXPECT_EQ(data.n_samples(), (int64_t(text.size()) + n - 1) / n);
    EXPECT_EQ(data.report().n_consecutive, data.n_samples());
    EXPECT_EQ(data.report().longest, n);
    for (const auto& [inputs, targets] : all_samples(data)) {
      EXPECT_EQ(inputs[0], kBos);
      EXPECT_LE(int64_t(inputs.size()), n);
      EXPECT_EQ(Tokens(inputs.begin() + 1, inputs.end()), Tokens(targets.begin(), targets.end() - 1));
    }
  }
}

TEST(Windows, AFullLastOneHasNoRoomForEos) {
  const Tokens text = encode(kText);
  const Dataset data = dataset_of(kText, tiny_tokenizer(), windows_of(int64_t(text.size())));
  EXPECT_THAT(all_samples(data).size(), 1u);
  EXPECT_EQ(targets_of(data), text);
}

TEST(Windows, WithoutEosNoneIsAdded) {
  TextOptions options = windows_of(4);
  options.separate_with_eos = false;
  EXPECT_EQ(targets_of(dataset_of(kText, tiny_tokenizer(), options)), encode(kText));
}

// The first token of a window has none before it, as in `lora eval`.
TEST(Windows, WithoutBosAWindowIsSoManyTokensOfTheText) {
  TextOptions options = windows_of(3);
  EXPECT_THAT(all_samples(dataset_of("abcdefg", letters_tokenizer(false), options)),
              ElementsAre(InputsTargets({0, 1}, {1, 2}), InputsTargets({3, 4}, {4, 5})));
  const Dataset data = dataset_of("abcdefg", letters_tokenizer(false), options);
  EXPECT_EQ(data.report().n_short, 1);  // "g" alone has nothing to predict
  EXPECT_THAT(all_samples(dataset_of("abcd", letters_tokenizer(true), options)),
              ElementsAre(InputsTargets({0, 1}, {1, 2}), InputsTargets({3}, {28})));
}

TEST(Windows, ABosThatIsSpelledWhereAWindowBeginsIsNotThereTwice) {
  TextOptions options = windows_of(2);
  options.parse_special = true;
  options.separate_with_eos = false;
  const Dataset data = dataset_of("<s>the<s>sea<s>", tiny_tokenizer(), options);
  for (const auto& [inputs, targets] : all_samples(data)) {
    EXPECT_EQ(inputs[0], kBos);
    EXPECT_NE(targets[0], kBos);
  }
}

TEST(Windows, EachFileBeginsAWindowAndRecordsStayRecords) {
  const ScratchFile a("a.txt", "the whale and the sea"), blank("b.txt", " \n"), c("c.txt", "the ship"),
      d("d.jsonl", "{\"text\": \"the king\"}");
  ThreadPool pool(1);
  const Dataset data({a.path, blank.path, c.path, d.path}, tiny_tokenizer(), windows_of(4), pool);
  Tokens want;
  for (const char* text : {"the whale and the sea", "the ship", "the king"}) {
    const Tokens t = encode(text);
    want.insert(want.end(), t.begin(), t.end());
    if (t.size() % 4 != 0 || text == std::string("the king")) want.push_back(kEos);
  }
  EXPECT_EQ(targets_of(data), want);
  EXPECT_EQ(data.report().n_blank, 1);
  EXPECT_EQ(data.report().n_consecutive, data.n_samples() - 1);
  EXPECT_EQ(int64_t(data.side_by_side().size()), data.n_samples());
  EXPECT_TRUE(data.numbers(true).empty());
}

TEST(Windows, OfWindowsAtEveryTokenThoseSideBySideAreTheText) {
  const ScratchFile a("a.txt", "abcdefg"), b("b.jsonl", "{\"text\": \"hij\"}\n{\"text\": \"kl\"}"),
      c("c.txt", "mnop");
  TextOptions options;
  options.n_ctx = 3;
  ThreadPool pool(1);
  const Dataset data({a.path, b.path, c.path}, letters_tokenizer(false), options, pool);
  EXPECT_THAT(data.numbers(false), ElementsAre(6, 7));
  EXPECT_THAT(data.numbers(true), ElementsAre(0, 1, 2, 3, 4, 5, 8, 9, 10));
  EXPECT_THAT(data.side_by_side(), ElementsAre(0, 3, 6, 7, 8));
}

TEST(Windows, WhatIsCutOfMarkedTextsIsCountedApartFromRecords) {
  const ScratchFile text("a.txt", "#abcdefgh#ab"), none("b.txt", "abcd"), blank("c.txt", "\n"),
      records("d.jsonl", "{\"text\": \"abcdefghij\"}");
  TextOptions options;
  options.sample_start = "#";
  options.n_ctx = 5;
  ThreadPool pool(1);
  const auto report_of = [&](const std::vector<std::string>& paths) {
    return Dataset(paths, letters_tokenizer(true), options, pool).report();
  };
  const DatasetReport report = report_of({text.path, none.path, blank.path, records.path});
  EXPECT_EQ(report.text_tokens, 9 + 3 + 5);  // the ends counted
  EXPECT_EQ(report.text_lost, 4);
  EXPECT_EQ(report.text_longest, 9);
  EXPECT_EQ(report.n_lost, 4 + 6);
  EXPECT_EQ(report.n_uncut_files, 1);
  EXPECT_EQ(report.first_uncut, none.path);
  EXPECT_EQ(report.uncut_tokens, 5);
  options.overlapping_samples = true;
  EXPECT_EQ(report_of({text.path}).text_tokens, 8 + 2);  // their own, without ends
  EXPECT_EQ(report_of({text.path}).text_lost, 3);
}

}  // namespace windows_test
}  // namespace lora
