#include "tokenizer/tokenizer.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "tokenizer/test_vocabularies.h"

namespace lora {
namespace tokenizer_test {

using test::error_of;
using test::VocabularyFile;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// 0 <unk>, 1 <s>, 2 </s>, 3 to 258 bytes, then the pieces below.
VocabularyFile small_spm() {
  VocabularyFile file;
  file.add("<unk>", 0, TokenKind::unknown)
      .add("<s>", 0, TokenKind::control)
      .add("</s>", 0, TokenKind::control);
  for (int byte = 0; byte < 256; ++byte) file.add(fmt::format("<0x{:02X}>", byte), 0, TokenKind::byte);
  for (const char* piece : {"▁", "a", "b", "<", "s", ">"}) file.add(piece, -10);
  file.add("ab", -2).add("▁a", -1).add("<s", -3).add("▁ab", -4);
  file.writer.set_u32("tokenizer.ggml.bos_token_id", 1);
  file.writer.set_u32("tokenizer.ggml.eos_token_id", 2);
  return file;
}

VocabularyFile small_bpe(const std::string& pre) {
  VocabularyFile file{.model = "gpt2", .pre = pre};
  file.add_byte_letters();
  return file;
}

std::vector<std::string> pieces(const Tokenizer& tokenizer, const std::vector<Token>& tokens) {
  std::vector<std::string> list;
  for (const Token token : tokens) list.push_back(tokenizer.piece(token));
  return list;
}

TEST(Tokenizer, MergesTheBestScoreFirst) {
  const Tokenizer tokenizer(small_spm().open());
  // "▁a" (-1) goes before "ab" (-2); "▁ab" then joins "▁a" and "b". Without a space "ab" remains.
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("ab")), ElementsAre("▁ab"));
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("bab")), ElementsAre("▁", "b", "ab"));
}

TEST(Tokenizer, EqualScoresMergeFromTheLeft) {
  VocabularyFile file = small_spm();
  file.add("bb", -5).writer.set_bool("tokenizer.ggml.add_space_prefix", false);
  const Tokenizer tokenizer(file.open());
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("bbb")), ElementsAre("bb", "b"));
}

TEST(Tokenizer, CharactersWithoutATokenBecomeTheirBytes) {
  const Tokenizer tokenizer(small_spm().open());
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("é\n\xff")),
              ElementsAre("▁", "<0xC3>", "<0xA9>", "<0x0A>", "<0xFF>"));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("é\n\xff")), "é\n\xff");
}

TEST(Tokenizer, WithoutByteTokensACharacterBecomesTheUnknownToken) {
  VocabularyFile file;
  file.add("<unk>", 0, TokenKind::unknown).add("▁", -1).add("a", -1);
  const Tokenizer tokenizer(file.open());
  EXPECT_THAT(tokenizer.encode("aéa"), ElementsAre(1, 2, 0, 2));
  EXPECT_EQ(tokenizer.decode({1, 2, 0, 2}), "aa");
  EXPECT_EQ(tokenizer.decode({1, 2, 0, 2}, true), "a<unk>a");
}

TEST(Tokenizer, TextNeverBecomesAControlTokenByMerging) {
  const Tokenizer tokenizer(small_spm().open());
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("<s>")), ElementsAre("▁", "<s", ">"));
  EXPECT_THAT(tokenizer.encode("<s>", true), ElementsAre(tokenizer.bos()));
  EXPECT_EQ(tokenizer.find_special_spelling("text with </s>"), tokenizer.eos());
  EXPECT_EQ(tokenizer.find_special_spelling("text without"), -1);
}

TEST(Tokenizer, ASpaceIsAddedAtTheStartAndAfterSpecialTokens) {
  const Tokenizer tokenizer(small_spm().open());
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("b<s>b", true)), ElementsAre("▁", "b", "<s>", "▁", "b"));
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode(" b")), ElementsAre("▁", "▁", "b"));
  EXPECT_TRUE(tokenizer.encode("").empty());
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(" b<s>  b", true), true), " b<s>  b");

  VocabularyFile without = small_spm();
  without.writer.set_bool("tokenizer.ggml.add_space_prefix", false);
  const Tokenizer plain(without.open());
  EXPECT_THAT(pieces(plain, plain.encode("b<s>b", true)), ElementsAre("b", "<s>", "b"));
  EXPECT_EQ(plain.decode(plain.encode(" b")), " b");
}

TEST(Tokenizer, MetaspaceAddsNoSecondSpaceAndMaySpareSpecialTokens) {
  const auto with = [](const char* scheme) {
    VocabularyFile file = small_spm();
    file.writer.set_string("tokenizer.ggml.metaspace", scheme);
    return file.open();
  };
  const Tokenizer first(with("first")), always(with("always"));
  for (const Tokenizer* tokenizer : {&first, &always}) {
    EXPECT_THAT(pieces(*tokenizer, tokenizer->encode("b")), ElementsAre("▁", "b"));
    EXPECT_THAT(pieces(*tokenizer, tokenizer->encode(" b")), ElementsAre("▁", "b"));
    EXPECT_THAT(pieces(*tokenizer, tokenizer->encode("▁b")), ElementsAre("▁", "b"));
    EXPECT_THAT(pieces(*tokenizer, tokenizer->encode("  b")), ElementsAre("▁", "▁", "b"));
  }
  EXPECT_THAT(pieces(first, first.encode("b<s>b", true)), ElementsAre("▁", "b", "<s>", "b"));
  EXPECT_THAT(pieces(first, first.encode("<s> b", true)), ElementsAre("<s>", "▁", "b"));
  EXPECT_EQ(first.decode(first.encode("b<s>b<s> b", true), true), "b<s>b<s> b");
  EXPECT_THAT(pieces(always, always.encode("b<s>b", true)), ElementsAre("▁", "b", "<s>", "▁", "b"));
  EXPECT_THAT(pieces(always, always.encode("b<s> b", true)), ElementsAre("▁", "b", "<s>", "▁", "b"));
  EXPECT_THAT(error_of([&] { Tokenizer tokenizer(with("never")); }),
              AllOf(HasSubstr("tokenizer.ggml.metaspace"), HasSubstr("\"never\"")));
}

// Gemma's way: no space before a text, and runs of spaces, line ends and tags as user-defined tokens, which
// are found in the text before anything merges; other spaces go with the word behind them.
TEST(Tokenizer, RunsOfSpacesMayBeTokens) {
  VocabularyFile file = small_spm();
  for (const char* token : {"  ", "   ", "    ", "\n\n", "<b>", "[x]"})
    file.add(token, -1000, TokenKind::user_defined);
  file.add("<unused0>", -1000, TokenKind::control);
  file.writer.set_bool("tokenizer.ggml.add_space_prefix", false);
  const Tokenizer tokenizer(file.open());
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("a a")), ElementsAre("a", "▁a"));
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("a  a")), ElementsAre("a", "  ", "a"));
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("      a")), ElementsAre("    ", "  ", "a"));
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("a\n\n\n<b>b[x] b")),
              ElementsAre("a", "\n\n", "<0x0A>", "<b>", "b", "[x]", "▁", "b"));
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("a ▁ b▁a")), ElementsAre("a", "   ", "b", "▁a"))
      << "▁ is a space to the tokenizer";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a   b  \n\n <b>")), "a   b  \n\n <b>");
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("<unused0>b", true)), ElementsAre("<unused0>", "b"));
  EXPECT_EQ(tokenizer.find_special_spelling("x<unused0>"), tokenizer.find("<unused0>"));
}

// As small_spm(), over merges: "ab" goes before "▁a" whatever their scores say.
VocabularyFile small_gemma4() {
  VocabularyFile file{.model = "gemma4", .pre = ""};
  file.add("<eos>", 0, TokenKind::control).add("<bos>", 0, TokenKind::control);
  for (int byte = 0; byte < 256; ++byte) file.add(fmt::format("<0x{:02X}>", byte), 0, TokenKind::byte);
  for (const char* piece : {"▁", "a", "b", "c", "\n", "\n\n\n"}) file.add(piece);
  file.add_merge("a", "b").add_merge("▁", "a").add_merge("▁", "▁").add_merge("▁a", "b");
  file.add_merge("\n", "\n").add_merge("ab", "c").add_merge("▁▁", "abc");
  file.writer.set_u32("tokenizer.ggml.bos_token_id", 1);
  file.writer.set_u32("tokenizer.ggml.eos_token_id", 0);
  return file;
}

TEST(Tokenizer, Gemma4MergesByRank) {
  const Tokenizer tokenizer(small_gemma4().open());
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("ab")), ElementsAre("ab"));
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode(" ab")), ElementsAre("▁", "ab"));
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode(" a b")), ElementsAre("▁a", "▁", "b"));
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("  abc▁b")), ElementsAre("▁▁abc", "▁", "b"));
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("aé")), ElementsAre("a", "<0xC3>", "<0xA9>"));
  // A run of line ends that is a token is that one, without a merge to it; others go by merges.
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("a\n\n\nb\n\n\n\n\n")),
              ElementsAre("a", "\n\n\n", "b", "\n\n", "\n\n", "\n"));
  EXPECT_EQ(tokenizer.encode_with_bos("a").front(), 1);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("  abc é\n\nb")), "  abc é\n\nb");
}

// Where the text may be cut, and the heap: nothing of it changes what merging the best pair of a line, over
// and over, gives.
TEST(Tokenizer, Gemma4IsPlainMerging) {
  VocabularyFile file{.model = "gemma4", .pre = ""};
  std::vector<std::string> all;
  for (const char* piece : {"▁", "a", "b", "c", "d", "é"}) all.emplace_back(piece);
  for (const std::string& piece : all) file.add(piece);
  test::Dice dice{7};
  std::vector<std::pair<std::string, std::string>> merges;
  while (merges.size() < 60) {
    const std::string left = all[dice.below(all.size())], right = all[dice.below(all.size())];
    if (left.size() + right.size() > 12 || std::ranges::find(merges, std::pair(left, right)) != merges.end())
      continue;
    merges.emplace_back(left, right);
    file.merges.push_back(left + " " + right);
    if (std::ranges::find(all, left + right) != all.end()) continue;
    all.push_back(left + right);
    file.add(left + right);
  }
  const Tokenizer tokenizer(file.open());
  for (int round = 0; round < 200; ++round) {
    std::string text;
    std::vector<std::string> symbols;
    for (uint64_t i = 0, n = 1 + dice.below(60); i < n; ++i) {
      symbols.push_back(all[dice.below(6)]);
      text += symbols.back() == "▁" ? " " : symbols.back();
    }
    for (;;) {
      size_t best = merges.size(), at = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto rank =
            size_t(std::ranges::find(merges, std::pair(symbols[i], symbols[i + 1])) - merges.begin());
        if (rank < best) best = rank, at = i;
      }
      if (best == merges.size()) break;
      symbols[at] += symbols[at + 1];
      symbols.erase(symbols.begin() + std::ptrdiff_t(at) + 1);
    }
    EXPECT_EQ(pieces(tokenizer, tokenizer.encode(text)), symbols) << text;
  }
}

// Its vocabulary holds </s> as a mark of HTML, and an answer may end where a tool is to be heard.
TEST(Tokenizer, Gemma4Ends) {
  VocabularyFile file = small_gemma4();
  file.add("</s>").add("<turn|>", 0, TokenKind::control).add("<|tool_response>", 0, TokenKind::user_defined);
  const Tokenizer tokenizer(file.open());
  EXPECT_TRUE(tokenizer.is_end(tokenizer.find("<turn|>")));
  EXPECT_TRUE(tokenizer.is_end(tokenizer.find("<|tool_response>")));
  EXPECT_EQ(tokenizer.eot(), tokenizer.find("<turn|>"));
  EXPECT_FALSE(tokenizer.is_end(tokenizer.find("</s>")));
  EXPECT_EQ(tokenizer.kind(tokenizer.find("</s>")), TokenKind::normal);
}

TEST(Tokenizer, OneTokenDecodesToItsBytes) {
  const Tokenizer tokenizer(small_spm().open());
  EXPECT_EQ(tokenizer.decode(Token(3 + 0xc3)), "\xc3");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("ab").front()), " ab");
  EXPECT_EQ(tokenizer.decode(tokenizer.bos()), "");
  EXPECT_EQ(tokenizer.decode(tokenizer.bos(), true), "<s>");
  EXPECT_THAT(error_of([&] { tokenizer.decode(Token(100000)); }), HasSubstr("token 100000"));
  EXPECT_THAT(error_of([&] { tokenizer.piece(-1); }), HasSubstr("token -1"));
}

TEST(Tokenizer, BosIsAddedOnceWhereTheModelUsesIt) {
  const Tokenizer tokenizer(small_spm().open());
  EXPECT_TRUE(tokenizer.add_bos());
  EXPECT_FALSE(tokenizer.add_eos());
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode_with_bos("b")), ElementsAre("<s>", "▁", "b"));
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode_with_bos("<s>b", true)), ElementsAre("<s>", "▁", "b"));
  EXPECT_THAT(tokenizer.encode_with_bos(""), ElementsAre(1));

  VocabularyFile off = small_spm();
  off.writer.set_bool("tokenizer.ggml.add_bos_token", false);
  off.writer.set_bool("tokenizer.ggml.add_eos_token", true);
  const Tokenizer plain(off.open());
  EXPECT_TRUE(plain.add_eos());
  EXPECT_THAT(pieces(plain, plain.encode_with_bos("b")), ElementsAre("▁", "b"));
}

TEST(Tokenizer, ByteLevelVocabulariesUseBosAsThePreTokenizerImplies) {
  for (const auto& [pre, add_bos] : {std::pair("gpt-2", false), {"llama-bpe", true}, {"qwen2", false}}) {
    VocabularyFile file = small_bpe(pre);
    file.add("<bos>", 0, TokenKind::control).writer.set_u32("tokenizer.ggml.bos_token_id", 256);
    EXPECT_EQ(Tokenizer(file.open()).add_bos(), add_bos) << pre;
  }
  const Tokenizer without(small_bpe("llama-bpe").open());
  EXPECT_EQ(without.bos(), -1);
  EXPECT_FALSE(without.add_bos());
  EXPECT_EQ(without.encode_with_bos("a").size(), 1u);
}

TEST(Tokenizer, ByteLevelMergesByRank) {
  VocabularyFile file = small_bpe("gpt-2");
  file.add_merge("b", "c").add_merge("a", "b").add_merge("Ġ", "a");
  const Tokenizer tokenizer(file.open());
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("abc ab")), ElementsAre("a", "bc", "Ġ", "ab"));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(" a\xff")), " a\xff");
}

// A merge whose result is no token comes out as the tokens it was made of, and may lead on to one that is.
TEST(Tokenizer, MergesMayPassThroughSpellingsThatAreNoToken) {
  VocabularyFile file = small_bpe("gpt-2");
  file.merges = {"a b", "ab c"};
  file.add("abc");
  const Tokenizer tokenizer(file.open());
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("abc")), ElementsAre("abc"));
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("abx")), ElementsAre("a", "b", "x"));
}

// "e" and U+0301 are the token of "é" where the model's tokenizer composes, by the pre-tokenizer's name.
TEST(Tokenizer, AccentsAreComposedWhereTheModelsTokenizerDoesSo) {
  for (const auto& [pre, composes] : {std::pair("qwen2", true),
                                      {"qwen35", true},
                                      {"command-r", true},
                                      {"olmo", true},
                                      {"llama-bpe", false},
                                      {"gpt-2", false},
                                      {"starcoder", false}}) {
    VocabularyFile file = small_bpe(pre);
    file.add_merge("Ã", "©");  // the bytes of "é"
    const Tokenizer tokenizer(file.open());
    EXPECT_THAT(pieces(tokenizer, tokenizer.encode("\u00e9")), ElementsAre("Ã©")) << pre;
    const std::vector<Token> tokens = tokenizer.encode("e\u0301");
    EXPECT_EQ(tokens.size(), composes ? 1u : 3u) << pre;
    EXPECT_EQ(tokenizer.decode(tokens), composes ? "\u00e9" : "e\u0301") << pre;
  }
}

// A special token is found in the text as it is; a mark behind it stands alone.
TEST(Tokenizer, NothingIsComposedAcrossASpecialToken) {
  VocabularyFile file = small_bpe("qwen2");
  file.add_merge("Ã", "©").add("<e>", 0, TokenKind::control);
  const Tokenizer tokenizer(file.open());
  EXPECT_EQ(tokenizer.encode("<e>\u0301", true).size(), 3u);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("<e>\u0301", true), true), "<e>\u0301");
}

TEST(Tokenizer, StrayBytesStayWhereAccentsAreComposed) {
  const Tokenizer tokenizer(small_bpe("qwen2").open());
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("e\xff\u0301 e\u0301\xcc")), "e\xff\u0301 \u00e9\xcc");
}

TEST(Tokenizer, WholeWordsGoBeforeMergesWhereTheModelSaysSo) {
  for (const auto& [pre, whole] : {std::pair("llama-bpe", true), {"gpt-2", false}}) {
    VocabularyFile file = small_bpe(pre);
    file.add("abc");  // no merge leads to it
    const Tokenizer tokenizer(file.open());
    EXPECT_EQ(tokenizer.encode("abc").size(), whole ? 1u : 3u);
  }
  VocabularyFile file = small_bpe("gpt-2");
  file.add("abc").writer.set_bool("tokenizer.ggml.ignore_merges", true);
  EXPECT_EQ(Tokenizer(file.open()).encode("abc").size(), 1u);
}

TEST(Tokenizer, EndsAreEosEndOfTurnAndTheirSpellings) {
  VocabularyFile file = small_bpe("qwen2");
  file.add("<|endoftext|>", 0, TokenKind::control)
      .add("<|im_end|>", 0, TokenKind::control)
      .add("<|im_start|>", 0, TokenKind::control)
      .add("<|fim_pad|>", 0, TokenKind::user_defined);
  file.writer.set_u32("tokenizer.ggml.eos_token_id", 256);
  file.writer.set_string("tokenizer.chat_template", "{{ x }}");
  const Tokenizer tokenizer(file.open());
  EXPECT_EQ(tokenizer.eos(), 256);
  EXPECT_EQ(tokenizer.eot(), 257);
  EXPECT_TRUE(tokenizer.is_end(256) && tokenizer.is_end(257) && tokenizer.is_end(259));
  EXPECT_FALSE(tokenizer.is_end(258) || tokenizer.is_end(0));
  EXPECT_EQ(tokenizer.kind(259), TokenKind::control);
  EXPECT_EQ(tokenizer.chat_template(), "{{ x }}");

  file.writer.set_u32("tokenizer.ggml.eot_token_id", 258);
  EXPECT_EQ(Tokenizer(file.open()).eot(), 258);
  EXPECT_EQ(Tokenizer(small_spm().open()).eot(), -1);
  EXPECT_EQ(Tokenizer(small_spm().open()).chat_template(), "");
}

TEST(Tokenizer, HarmonyMessagesEndWithoutEndingTheAnswer) {
  VocabularyFile file = small_bpe("gpt-4o");
  for (const char* token : {"<|return|>", "<|end|>", "<|call|>"}) file.add(token, 0, TokenKind::control);
  const Tokenizer tokenizer(file.open());
  EXPECT_TRUE(tokenizer.is_end(256) && tokenizer.is_end(258));
  EXPECT_FALSE(tokenizer.is_end(257));
}

TEST(Tokenizer, Phi3DropsWhiteSpaceAfterSpecialTokens) {
  VocabularyFile file = small_spm();
  file.add("<|user|>", 0, TokenKind::control).writer.set_string("general.name", "Phi-3 mini");
  const Tokenizer tokenizer(file.open());
  EXPECT_THAT(pieces(tokenizer, tokenizer.encode("<|user|>\n b<s> b", true)),
              ElementsAre("<|user|>", "▁", "b", "<s>", "▁", "▁", "b"));
}

TEST(Tokenizer, BrokenVocabulariesAreRefusedByName) {
  const auto error = [](VocabularyFile file) { return error_of([&] { Tokenizer tokenizer(file.open()); }); };
  VocabularyFile file = small_spm();
  file.model = "bert";
  EXPECT_THAT(error(file),
              AllOf(HasSubstr("vocabulary.gguf"), HasSubstr("\"bert\""), HasSubstr("llama, gpt2")));
  EXPECT_THAT(error(small_bpe("nonsense")),
              AllOf(HasSubstr("\"nonsense\""), HasSubstr("qwen2"), HasSubstr("gpt-2")));
  file = small_spm();
  file.writer.set_u32("tokenizer.ggml.bos_token_id", 5000);
  EXPECT_THAT(error(file), AllOf(HasSubstr("tokenizer.ggml.bos_token_id"), HasSubstr("5000")));
  file = small_spm();
  file.scores.pop_back();
  EXPECT_THAT(error(file), HasSubstr("tokenizer.ggml.scores"));
  file = small_spm();
  file.scores[5] = std::nan("");
  EXPECT_THAT(error(file), HasSubstr("the score of token 5"));
  file = small_spm();
  file.kinds.pop_back();
  EXPECT_THAT(error(file), HasSubstr("tokenizer.ggml.token_type"));
  file = small_spm();
  file.tokens.clear();
  EXPECT_THAT(error(file), HasSubstr("tokenizer.ggml.tokens"));
  for (const char* merge : {"ab", "a ", ""}) {
    file = small_bpe("gpt-2");
    file.merges = {merge};
    EXPECT_THAT(error(file), HasSubstr("tokenizer.ggml.merges: entry 0")) << merge;
  }
  EXPECT_THAT(error_of([] {
                const test::ScratchFile none("none.gguf");
                GgufWriter().write(none.path);
                Tokenizer tokenizer(Gguf::open(none.path));
              }),
              HasSubstr("no vocabulary"));
}

TEST(Tokenizer, BundledModelReadsItsOwnText) {
  const Tokenizer tokenizer(Gguf::open(test::bundled_model()));
  EXPECT_EQ(tokenizer.n_vocab(), 4096);
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_EQ(tokenizer.eos(), 2);
  const std::string text = "Call me Ishmael. Some years ago, never mind how long precisely";
  const std::vector<Token> tokens = tokenizer.encode(text);
  EXPECT_LT(tokens.size(), text.size() / 2);
  EXPECT_EQ(tokenizer.decode(tokens), text);
}

}  // namespace tokenizer_test
}  // namespace lora
