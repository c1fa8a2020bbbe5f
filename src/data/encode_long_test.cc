#include "data/encode_long.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "data/data_test_util.h"

namespace lora {
namespace encode_long_test {

Tokens in_chunks(const std::string& text, const Tokenizer& tokenizer, int64_t chunk_bytes,
                 int n_threads = 2) {
  ThreadPool pool(n_threads);
  Tokens tokens;
  encode_long(tokens, text, tokenizer, false, pool, chunk_bytes);
  return tokens;
}

// Words, line ends, runs of spaces and empty lines, digits, letters beyond ASCII.
std::string mixed_text(int64_t n_words) {
  const std::vector<std::string> words = {"the",  "whale", "\n", "\n\n", "  ",   "Wörter", "1861", "—",
                                          "said", ".\n",   "\t", "of",   "日本", ", and",  "I",    "\n   "};
  std::string text;
  for (int64_t i = 0; i < n_words; ++i) {
    const uint64_t r = random_bits(1, Purpose::test, 0, uint64_t(i));
    text += words[r % words.size()];
    if ((r >> 32) % 4 != 0) text += ' ';
  }
  return text;
}

TEST(EncodeLong, ChunksGiveTheTokensOfTheWholeText) {
  const std::string text = mixed_text(20000);
  const Tokens whole = tiny_tokenizer().encode(text);
  for (const int64_t chunk_bytes : {100, 1000, 4096, 50000}) {
    EXPECT_EQ(in_chunks(text, tiny_tokenizer(), chunk_bytes), whole) << "chunks of " << chunk_bytes;
  }
}

TEST(EncodeLong, ByteLevelVocabularyToo) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "the quick brown\nfox jumps ";
  const Tokenizer tokenizer = letters_tokenizer(false);
  EXPECT_EQ(in_chunks(text, tokenizer, 1000), tokenizer.encode(text));
}

TEST(EncodeLong, TextWithoutWhiteSpaceIsNotSplit) {
  const std::string text(10000, 'x');
  EXPECT_EQ(in_chunks(text, tiny_tokenizer(), 100), tiny_tokenizer().encode(text));
}

TEST(EncodeLong, RunsOfWhiteSpaceAreNotSplit) {
  const std::string text = "a" + std::string(5000, ' ') + "b" + std::string(5000, '\n') + "c";
  EXPECT_EQ(in_chunks(text, tiny_tokenizer(), 100), tiny_tokenizer().encode(text));
}

TEST(EncodeLong, AppendsToWhatIsThere) {
  ThreadPool pool(1);
  Tokens tokens = {7};
  encode_long(tokens, "whale", tiny_tokenizer(), false, pool);
  Tokens expected = tiny_tokenizer().encode("whale");
  expected.insert(expected.begin(), 7);
  EXPECT_EQ(tokens, expected);
}

TEST(EncodeLong, ThreadCountDoesNotMatter) {
  const std::string text = mixed_text(5000);
  EXPECT_EQ(in_chunks(text, tiny_tokenizer(), 500, 1), in_chunks(text, tiny_tokenizer(), 500, 4));
}

}  // namespace encode_long_test
}  // namespace lora
