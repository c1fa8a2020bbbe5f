#include "tokenizer/special_tokens.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "tokenizer/test_vocabularies.h"

namespace lora {
namespace special_tokens_test {

using test::VocabularyFile;
using testing::ElementsAre;

// Parts in order: texts as they are, tokens as "[spelling]".
std::vector<std::string> split(const Vocabulary& vocab, const SpecialTokens& special, std::string_view text,
                               bool parse_special) {
  std::vector<std::string> parts;
  const TextRange whole{0, text.size()};
  special.split(
      text, {&whole, parse_special ? size_t{1} : 0}, [&](std::string_view part) { parts.emplace_back(part); },
      [&](Token token) { parts.push_back("[" + vocab.pieces[size_t(token)] + "]"); });
  return parts;
}

TEST(SpecialTokens, ControlTokensAreReadOnlyWhenAskedForUserDefinedAlways) {
  const Vocabulary vocab(VocabularyFile()
                             .add("<s>", 0, TokenKind::control)
                             .add("<tool>", 0, TokenKind::user_defined)
                             .add("<unk>", 0, TokenKind::unknown)
                             .add("a")
                             .open());
  const SpecialTokens special(vocab, {});
  EXPECT_THAT(split(vocab, special, "a<s>b<tool><unk>c", false), ElementsAre("a<s>b", "[<tool>]", "<unk>c"));
  EXPECT_THAT(split(vocab, special, "a<s>b<tool><unk>c", true),
              ElementsAre("a", "[<s>]", "b", "[<tool>]", "[<unk>]", "c"));
  EXPECT_THAT(split(vocab, special, "", true), ElementsAre());
}

TEST(SpecialTokens, ControlTokensAreReadWithinGivenStretchesOnly) {
  const Vocabulary vocab(VocabularyFile()
                             .add("<s>", 0, TokenKind::control)
                             .add("><", 0, TokenKind::control)
                             .add("<t>", 0, TokenKind::user_defined)
                             .open());
  const SpecialTokens special(vocab, {});
  const std::string text = "<s><s>a<s><t>";  // the second one is text, the fourth ends outside
  const std::vector<TextRange> ranges = {{0, 3}, {7, 10}};
  std::vector<std::string> parts;
  special.split(
      text, ranges, [&](std::string_view part) { parts.emplace_back(part); },
      [&](Token token) { parts.push_back("[" + vocab.pieces[size_t(token)] + "]"); });
  EXPECT_THAT(parts, ElementsAre("[<s>]", "<s>a", "[<s>]", "[<t>]"));
}

TEST(SpecialTokens, TheLongestGoesFirstEvenIfItBeginsLater) {
  const Vocabulary vocab(VocabularyFile()
                             .add("abc", 0, TokenKind::user_defined)
                             .add("cdefg", 0, TokenKind::user_defined)
                             .add("ab", 0, TokenKind::user_defined)
                             .open());
  const SpecialTokens special(vocab, {});
  EXPECT_THAT(split(vocab, special, "xxabcdefgabc", false), ElementsAre("xx", "[ab]", "[cdefg]", "[abc]"));
}

TEST(SpecialTokens, TextLeftOverInAStretchStaysJoinedWithItsNeighbour) {
  const Vocabulary vocab(
      VocabularyFile().add("bc", 0, TokenKind::user_defined).add("cde", 0, TokenKind::user_defined).open());
  const SpecialTokens special(vocab, {});
  EXPECT_THAT(split(vocab, special, "abcdebc", false), ElementsAre("ab", "[cde]", "[bc]"));
}

TEST(SpecialTokens, SomeSwallowTheWhiteSpaceBehindThem) {
  const Vocabulary vocab(
      VocabularyFile().add("<|end|>", 0, TokenKind::control).add("<s>", 0, TokenKind::control).open());
  const SpecialTokens special(vocab, {0});
  EXPECT_THAT(split(vocab, special, "a<|end|>\n \tb<s> c<|end|> ", true),
              ElementsAre("a", "[<|end|>]", "b", "[<s>]", " c", "[<|end|>]"));
}

TEST(SpecialTokens, FindsTheFirstControlTokenThatTheTextSpells) {
  const Vocabulary vocab(VocabularyFile()
                             .add("<s>", 0, TokenKind::control)
                             .add("</s>", 0, TokenKind::control)
                             .add("<x>", 0, TokenKind::user_defined)
                             .open());
  const SpecialTokens special(vocab, {});
  EXPECT_EQ(special.find_control("a<x>b</s><s>"), 1);
  EXPECT_EQ(special.find_control("a<x>b"), -1);
  EXPECT_EQ(special.find_control(""), -1);
}

// The rule as llama.cpp states it: one token after the other, over all the text that is left.
std::vector<std::string> plain_split(const Vocabulary& vocab, const std::string& text) {
  struct Part {
    std::string text;
    bool token;
  };
  std::vector<Token> order(vocab.pieces.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = Token(i);
  std::stable_sort(order.begin(), order.end(), [&](Token a, Token b) {
    return vocab.pieces[size_t(a)].size() > vocab.pieces[size_t(b)].size();
  });
  std::vector<Part> parts{{text, false}};
  for (const Token id : order) {
    const std::string& piece = vocab.pieces[size_t(id)];
    std::vector<Part> next;
    for (const Part& part : parts) {
      if (part.token) {
        next.push_back(part);
        continue;
      }
      size_t done = 0;
      for (size_t at; (at = part.text.find(piece, done)) != std::string::npos; done = at + piece.size()) {
        if (at > done) next.push_back({part.text.substr(done, at - done), false});
        next.push_back({"[" + piece + "]", true});
      }
      if (done < part.text.size()) next.push_back({part.text.substr(done), false});
    }
    parts = std::move(next);
  }
  std::vector<std::string> list;
  for (const Part& part : parts) list.push_back(part.text);
  return list;
}

TEST(SpecialTokens, OnePassAgreesWithTheRuleOnRandomText) {
  test::Dice dice{3};
  for (int round = 0; round < 60; ++round) {
    VocabularyFile file;
    for (uint64_t i = 0, n = 1 + dice.below(8); i < n; ++i) {
      std::string token;
      for (uint64_t k = 0, size = 1 + dice.below(6); k < size; ++k) token += char('a' + dice.below(3));
      if (std::find(file.tokens.begin(), file.tokens.end(), token) == file.tokens.end()) {
        file.add(token, 0, TokenKind::user_defined);
      }
    }
    const Vocabulary vocab(file.open());
    const SpecialTokens special(vocab, {});
    for (int i = 0; i < 50; ++i) {
      std::string text;
      for (uint64_t k = 0, size = dice.below(40); k < size; ++k) text += char('a' + dice.below(4));
      ASSERT_EQ(split(vocab, special, text, false), plain_split(vocab, text)) << text;
    }
  }
}

}  // namespace special_tokens_test
}  // namespace lora
