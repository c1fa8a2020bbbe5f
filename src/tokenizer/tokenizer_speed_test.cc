// Time grows with the length of the text, not its square. The bounds are for a slow machine with sanitizers;
// quadratic code would take hours.
#include <gtest/gtest.h>

#include <ctime>

#include "tokenizer/test_vocabularies.h"

namespace lora {
namespace tokenizer_speed_test {

using test::VocabularyFile;

constexpr double kSecondsPerRun = 60;

// Of the processor, not of the clock on the wall: other programs may run at the same time.
double cpu_seconds() {
  return double(std::clock()) / CLOCKS_PER_SEC;
}

double seconds_to_encode(const Tokenizer& tokenizer, const std::string& text) {
  const double start = cpu_seconds();
  const std::vector<Token> tokens = tokenizer.encode(text);
  const double seconds = cpu_seconds() - start;
  EXPECT_EQ(tokenizer.decode(tokens), text);
  return seconds;
}

std::string run_of(const std::string& unit, size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += unit;
  return text;
}

void expect_linear(const Tokenizer& tokenizer) {
  for (const char* unit : {"a", " "}) {
    EXPECT_LT(seconds_to_encode(tokenizer, run_of(unit, 1'000'000)), kSecondsPerRun)
        << "a run of \"" << unit << "\"";
  }
  for (const char* unit : {"\n", "ab", "1", "\xf0\x9f\x98\x80", "\xff"}) {
    EXPECT_LT(seconds_to_encode(tokenizer, run_of(unit, 500'000)), kSecondsPerRun)
        << "a run of \"" << unit << "\"";
  }
}

TEST(Speed, LongRunsBundledModel) {
  expect_linear(Tokenizer(Gguf::open(test::bundled_model())));
}

TEST(Speed, LongRunsThatMergeSentencePiece) {
  VocabularyFile file;
  file.add("<unk>", 0, TokenKind::unknown);
  for (int byte = 0; byte < 256; ++byte) file.add(fmt::format("<0x{:02X}>", byte), 0, TokenKind::byte);
  for (const std::string letter : {"a", "b", "\xe2\x96\x81"}) {
    std::string run = letter;
    for (int doubling = 0; doubling < 7; ++doubling, run += run) file.add(run, -doubling);
  }
  file.add("ab", -1.5);
  expect_linear(Tokenizer(file.open()));
}

TEST(Speed, LongRunsThatMergeByteLevel) {
  VocabularyFile file{.model = "gpt2", .pre = "gpt-2"};
  file.add_byte_letters();
  for (const std::string letter : {"a", "\xc4\xa0"}) {
    std::string run = letter;
    for (int doubling = 0; doubling < 7; ++doubling, run += run) file.add_merge(run, run);
  }
  file.add_merge("a", "b");
  expect_linear(Tokenizer(file.open()));
}

// More special tokens than text, overlapping.
TEST(Speed, LongRunsOfUserDefinedTokens) {
  VocabularyFile file{.model = "gpt2", .pre = "gpt-2"};
  file.add_byte_letters();
  for (size_t n = 2; n <= 30; ++n) file.add(std::string(n, '\n'), 0, TokenKind::user_defined);
  const Tokenizer tokenizer(file.open());
  EXPECT_LT(seconds_to_encode(tokenizer, run_of("\n", 1'000'000)), kSecondsPerRun);
  EXPECT_EQ(tokenizer.encode(std::string(61, '\n')).size(), 3u);
}

TEST(Speed, OrdinaryText) {
#if !defined(NDEBUG) || LORA_INSTRUMENTED
  GTEST_SKIP() << "only a release build is held to a speed";
#endif
  std::string text;
  test::Dice dice{5};
  for (const std::string& path : test::all_vocabularies()) {
    const Tokenizer tokenizer(Gguf::open(path));
    // Words of the vocabulary itself, as likely to be long or short as there are such.
    text.clear();
    while (text.size() < 500'000) {
      text += tokenizer.decode(Token(dice.below(uint64_t(tokenizer.n_vocab()))));
      if (dice.below(2)) text += ' ';
    }
    const double start = cpu_seconds();
    EXPECT_GT(tokenizer.encode(text).size(), 10'000u);
    EXPECT_LT(cpu_seconds() - start, double(text.size()) / 1e6) << path;
  }
}

}  // namespace tokenizer_speed_test
}  // namespace lora
