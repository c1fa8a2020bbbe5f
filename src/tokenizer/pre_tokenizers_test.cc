#include "tokenizer/pre_tokenizers.h"

#include <gmock/gmock.h>

#include <chrono>
#include <set>

#include "tokenizer/test_vocabularies.h"

namespace lora {
namespace pre_tokenizers_test {

using testing::ElementsAre;

std::vector<std::string> words(std::string_view name, std::string_view text) {
  const PreTokenizerRow* row = find_pre_tokenizer(name);
  if (!row) throw std::runtime_error("no such pre-tokenizer");
  std::vector<std::string> list;
  PreTokenizer(*row).split(text, [&](std::string_view word) { list.emplace_back(word); });
  return list;
}

TEST(PreTokenizers, Gpt2KeepsOneSpaceWithTheWordAndSplitsContractions) {
  EXPECT_THAT(words("gpt-2", "I've  been told, 123 times\n"),
              ElementsAre("I", "'ve", " ", " been", " told", ",", " 123", " times", "\n"));
}

TEST(PreTokenizers, Llama3GroupsDigitsByThreeAndTakesAnySignBeforeAWord) {
  EXPECT_THAT(words("llama-bpe", "(x)=12345 YOU'RE \n\n ok"),
              ElementsAre("(x", ")=", "123", "45", " YOU", "'RE", " \n\n", " ok"));
}

TEST(PreTokenizers, Qwen2SplitsEveryDigit) {
  EXPECT_THAT(words("qwen2", "in 2024"), ElementsAre("in", " ", "2", "0", "2", "4"));
}

TEST(PreTokenizers, StarcoderSplitsDigitsBeforeWords) {
  EXPECT_THAT(words("starcoder", "a  42b"), ElementsAre("a", "  ", "4", "2", "b"));
}

TEST(PreTokenizers, FalconSplitsPunctuationBeforeWordsAndGroupsDigits) {
  EXPECT_THAT(words("falcon", "ab'ssss 1234567"), ElementsAre("ab", "'", "ssss", " ", "123", "456", "7"));
}

TEST(PreTokenizers, DefaultSplitsNumbersFromTheirSpace) {
  EXPECT_THAT(words("default", "x = 12345`"), ElementsAre("x", " ", "=", " ", "123", "45", "`"));
}

// Hebrew has no case and is cut off from the Cyrillic before it.
TEST(PreTokenizers, DeepseekLlmSeparatesScriptsAndLineBreaks) {
  EXPECT_THAT(words("deepseek-llm", "Word \xd0\xb4\xd7\x90!\r\n\xe4\xb8\xad\xe6\x96\x87 77  "),
              ElementsAre("Word", " \xd0\xb4", "\xd7\x90", "!", "\r", "\n", "\xe4\xb8\xad\xe6\x96\x87", " ",
                          "77", "  "));
}

TEST(PreTokenizers, DeepseekCoderSplitsDigits) {
  EXPECT_THAT(words("deepseek-coder", "f(x12)"), ElementsAre("f", "(", "x", "1", "2", ")"));
}

TEST(PreTokenizers, DeepseekV3SeparatesJapaneseAndKeepsSignWithAsciiWord) {
  EXPECT_THAT(words("deepseek-v3", "_init 1234 \xe3\x81\x82"),
              ElementsAre("_init", " ", "123", "4", " ", "\xe3\x81\x82"));
}

TEST(PreTokenizers, Gpt4oBeginsWordsAtUpperCase) {
  EXPECT_THAT(words("gpt-4o", "helloWorld's HTTPServer 1234/\n"),
              ElementsAre("hello", "World's", " HTTPServer", " ", "123", "4", "/\n"));
}

TEST(PreTokenizers, TekkenBeginsWordsAtUpperCaseAndSplitsDigits) {
  EXPECT_THAT(words("tekken", "helloWorld's 12"), ElementsAre("hello", "World", "'s", " ", "1", "2"));
}

TEST(PreTokenizers, BloomSplitsAtSentenceSigns) {
  EXPECT_THAT(words("poro-chat", "Hei, maailma 12."), ElementsAre("Hei", ",", " maailma", " 12", "."));
  EXPECT_THAT(words("viking", "v 12."), ElementsAre("v", " ", "1", "2", "."));
}

TEST(PreTokenizers, NumbersInThreesFromTheRight) {
  EXPECT_THAT(words("superbpe", "in 1234567"), ElementsAre("in ", "1", "234", "567"));
  EXPECT_THAT(words("superbpe", "123 45 6789"), ElementsAre("123", " ", "45", " ", "6", "789"));
  EXPECT_THAT(words("superbpe", "a 123456."), ElementsAre("a ", "123", "456", "."));
  EXPECT_THAT(words("tiny_aya", "12345 x  67"), ElementsAre("12", "345", " x", "  ", "67"));
  EXPECT_THAT(words("tiny_aya", "12345x"), ElementsAre("123", "45", "x")) << "no word ends behind the number";
}

TEST(PreTokenizers, KimiSeparatesChineseFromLetters) {
  EXPECT_THAT(words("kimi-k2",
                    "\xe4\xb8\xad\xe6\x96\x87"
                    "English\xe6\xb7\xb7 It's 1234"),
              ElementsAre("\xe4\xb8\xad\xe6\x96\x87", "English", "\xe6\xb7\xb7", " It's", " ", "123", "4"));
}

TEST(PreTokenizers, ExaoneMoeKeepsASentencesWordsTogether) {
  EXPECT_THAT(words("exaone-moe", "so it is, 12\n"), ElementsAre("so it is", ",", " ", "1", "2", "\n"));
}

TEST(PreTokenizers, Jais2CutsSpacesIntoPowersOfTwo) {
  EXPECT_THAT(words("jais-2", "a" + std::string(14, ' ') + "b"),
              ElementsAre("a", std::string(8, ' '), std::string(4, ' '), " ", " b"));
}

TEST(PreTokenizers, MiniCpm5GroupsDigitsByThreeAndSingleCaseWords) {
  EXPECT_THAT(words("minicpm5", "x12345 I'll"), ElementsAre("x", "123", "45", " I", "'ll"));
}

TEST(PreTokenizers, Qwen35CountsMarksToTheLetters) {
  EXPECT_THAT(words("qwen35",
                    "a\xcc\xb1"
                    "b 12"),
              ElementsAre("a\xcc\xb1"
                          "b",
                          " ", "1", "2"));
  EXPECT_THAT(words("qwen2",
                    "a\xcc\xb1"
                    "b"),
              ElementsAre("a",
                          "\xcc\xb1"
                          "b"));
}

// U+00A0 and U+0085 are white space to Unicode; U+180E, which PCRE2 still takes for it, is not.
TEST(PreTokenizers, WhiteSpaceIsThatOfUnicode) {
  EXPECT_THAT(words("gpt-2", "a\xc2\xa0\xc2\x85!"), ElementsAre("a", "\xc2\xa0", "\xc2\x85", "!"));
  EXPECT_THAT(words("gpt-2", "a\xe1\xa0\x8e!"), ElementsAre("a", "\xe1\xa0\x8e!"));
}

TEST(PreTokenizers, StrayBytesAreWordsOfTheirOwn) {
  EXPECT_THAT(words("gpt-2", "ab\xff\xfe yz\xc3"), ElementsAre("ab", "\xff\xfe", " yz", "\xc3"));
}

TEST(PreTokenizers, EveryNameIsListedOnce) {
  std::set<std::string_view> seen;
  for (const PreTokenizerRow& row : pre_tokenizer_rows()) {
    for (const std::string_view name : row.names) {
      EXPECT_TRUE(seen.insert(name).second) << name;
      EXPECT_EQ(find_pre_tokenizer(name), &row);
      EXPECT_NE(pre_tokenizer_names().find(name), std::string::npos);
    }
  }
  EXPECT_EQ(find_pre_tokenizer("no-such-model"), nullptr);
}

TEST(PreTokenizers, WordsTogetherAreTheText) {
  const Tokenizer tokenizer(Gguf::open(test::bundled_model()));
  for (const PreTokenizerRow& row : pre_tokenizer_rows()) {
    const PreTokenizer pre(row);
    test::Dice dice{7};
    for (int i = 0; i < 200; ++i) {
      const std::string text = test::random_text(dice, tokenizer, 20, i % 2 == 1);
      std::string joined;
      pre.split(text, [&](std::string_view word) {
        EXPECT_FALSE(word.empty());
        joined += word;
      });
      ASSERT_EQ(joined, text) << row.names.front();
    }
  }
}

// A pattern that rescans a run from each of its characters would take hours here.
TEST(PreTokenizers, LongRunsTakeLinearTime) {
  for (const PreTokenizerRow& row : pre_tokenizer_rows()) {
    const PreTokenizer pre(row);
    for (const std::string unit :
         {"a", "A", " ", "\n", "\r\n ", "1", "!", "'", "\xe4\xb8\xad", "\xcc\x81", "\xff"}) {
      std::string text;
      while (text.size() < 200'000) text += unit;
      for (const std::string end : {"", "\xf0\x9f\x98\x80", "a"}) {
        const std::string whole = text + end;
        const auto start = std::chrono::steady_clock::now();
        size_t bytes = 0;
        pre.split(whole, [&](std::string_view word) { bytes += word.size(); });
        EXPECT_EQ(bytes, whole.size());
        EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20))
            << row.names.front() << " on a run of \"" << unit << "\"";
      }
    }
  }
}

}  // namespace pre_tokenizers_test
}  // namespace lora
