// tokenizer.json and tokenizer.model against the vocabularies that they come from.
#include "convert/hf_vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "base/utf8.h"
#include "convert/pre_tokenizer_name.h"
#include "convert/sentencepiece.h"
#include "convert/test_models.h"
#include "gguf/test_files.h"
#include "tokenizer/byte_letters.h"
#include "tokenizer/pre_tokenizers.h"
#include "tokenizer/vocabulary.h"

namespace lora {
namespace hf_vocabulary_test {

using nlohmann::ordered_json;
using test::error_of;
using testing::HasSubstr;

// A SentencePiece vocabulary as transformers writes it into a tokenizer.json: every way to put a piece
// together from two others, those of the best piece first.
std::string as_tokenizer_json(const Gguf& gguf) {
  const Vocabulary vocabulary(gguf);
  const std::vector<double> scores = *gguf.get_floats("tokenizer.ggml.scores");
  struct Merge {
    double score;
    std::string left, right;
  };
  std::vector<Merge> merges;
  ordered_json vocab = ordered_json::object(), added = ordered_json::array();
  for (Token id = 0; id < vocabulary.size(); ++id) {
    const std::string& piece = vocabulary.pieces[size_t(id)];
    vocab[piece] = id;
    if (vocabulary.kinds[size_t(id)] == TokenKind::control ||
        vocabulary.kinds[size_t(id)] == TokenKind::unknown) {
      added.push_back({{"id", id}, {"content", piece}, {"special", true}});
    }
    for (size_t cut = 1; cut < piece.size() && vocabulary.kinds[size_t(id)] == TokenKind::normal; ++cut) {
      const std::string left = piece.substr(0, cut), right = piece.substr(cut);
      if (vocabulary.find_text(left) >= 0 && vocabulary.find_text(right) >= 0) {
        merges.push_back({scores[size_t(id)], left, right});
      }
    }
  }
  std::stable_sort(merges.begin(), merges.end(),
                   [](const Merge& a, const Merge& b) { return a.score > b.score; });
  ordered_json pairs = ordered_json::array();
  for (const Merge& merge : merges) pairs.push_back({merge.left, merge.right});
  return ordered_json{
      {"added_tokens", added},
      {"normalizer",
       {{"type", "Sequence"},
        {"normalizers", {{{"type", "Prepend"}, {"prepend", "▁"}}, {{"type", "Replace"}, {"content", "▁"}}}}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}}}},
      {"model",
       {{"type", "BPE"},
        {"byte_fallback", true},
        {"unk_token", "<unk>"},
        {"vocab", vocab},
        {"merges", pairs}}}}
      .dump();
}

Tokenizer tokenizer_of(const HfVocabulary& vocabulary) {
  GgufWriter writer;
  vocabulary.set_keys(writer);
  const test::ScratchFile file("vocabulary.gguf");
  writer.write(file.path);
  return Tokenizer(Gguf::open(file.path));
}

void expect_same_tokens(const std::string& gguf_path, const std::vector<std::string>& texts) {
  const Gguf gguf = Gguf::open(gguf_path);
  AddedTokens added;
  const HfVocabulary read = vocabulary_of_tokenizer_json(as_tokenizer_json(gguf), "tokenizer.json", added);
  EXPECT_EQ(read.model, "llama");
  EXPECT_EQ(read.add_bos, true);
  EXPECT_EQ(read.add_eos, false);
  EXPECT_EQ(read.add_space_prefix, true);
  EXPECT_EQ(read.unk, 0);
  const Tokenizer original(gguf), converted = tokenizer_of(read);
  for (const std::string& text : texts) EXPECT_EQ(converted.encode(text), original.encode(text)) << text;
}

TEST(TokenizerJson, ByteFallbackMergesAsTheScoresDo) {
  expect_same_tokens(
      LORA_SOURCE_DIR "/models/tiny-q8_0.gguf",
      {"The old king said that he would not go.", "  spaces   here", "caf\u00e9 \u4e2d\u6587\n\t!!",
       "unbelievable wonderfulness of the presidency", "1234 and 56.78"});
}

TEST(TokenizerJson, ByteFallbackOfARealLlama2) {
  const std::string gguf = LORA_SHARED_DIR "/vocab/ggml-vocab-llama-spm.gguf";
  if (!file_exists(gguf)) GTEST_SKIP() << gguf << " is not here";
  std::string all(MappedFile(gguf + ".inp").text());
  std::vector<std::string> texts;
  const std::string mark = "\n__ggml_vocab_test__\n";
  for (size_t at; (at = all.find(mark)) != all.npos; all.erase(0, at + mark.size()))
    texts.push_back(all.substr(0, at));
  EXPECT_GT(texts.size(), 30u);
  expect_same_tokens(gguf, texts);
}

// transformers 5 writes a Metaspace where earlier versions wrote a Prepend.
TEST(TokenizerJson, AMetaspaceSaysWhereASpaceGoesBeforeTexts) {
  const Gguf gguf = Gguf::open(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  const auto read = [&](const char* scheme) {
    ordered_json root = ordered_json::parse(as_tokenizer_json(gguf));
    root["normalizer"] = nullptr;
    root["pre_tokenizer"] = {
        {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", false}};
    AddedTokens added;
    return vocabulary_of_tokenizer_json(root.dump(), "tokenizer.json", added);
  };
  EXPECT_EQ(read("first").add_space_prefix, true);
  EXPECT_EQ(read("never").add_space_prefix, false);
  const Tokenizer first = tokenizer_of(read("first")), always = tokenizer_of(read("always")),
                  never = tokenizer_of(read("never"));
  EXPECT_EQ(first.encode("king"), first.encode(" king"));
  EXPECT_EQ(always.encode("king"), first.encode("king"));
  EXPECT_EQ(never.encode(" king"), first.encode("king"));
  EXPECT_NE(never.encode("king"), first.encode("king"));
  EXPECT_NE(Tokenizer(gguf).encode(" king"), first.encode(" king")) << "elsewhere the space is doubled";
}

TEST(TokenizerJson, MalformedOnesAreRefusedByName) {
  const auto error = [](const std::string& text) {
    return error_of([&] {
      AddedTokens added;
      vocabulary_of_tokenizer_json(text, "t.json", added);
    });
  };
  EXPECT_THAT(error("{"), HasSubstr("t.json: not valid JSON"));
  EXPECT_THAT(error("[]"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(error("{}"), HasSubstr("model: missing"));
  EXPECT_THAT(error(R"({"model": {"type": "Unigram"}})"), HasSubstr("of type Unigram"));
  EXPECT_THAT(error(R"({"model": {"merges": [], "vocab": {}}})"), HasSubstr("vocab: missing or empty"));
  EXPECT_THAT(error(R"({"model": {"merges": [], "vocab": {"a": 99999999999}}})"),
              HasSubstr("token 'a' has no usable id"));
  EXPECT_THAT(error(R"({"model": {"merges": [], "vocab": {"a": -1}}})"), HasSubstr("no usable id"));
  // An id sizes the vocabulary, so it may not be far beyond the number of tokens.
  EXPECT_THAT(error(R"({"model": {"merges": [], "vocab": {"a": 0, "b": 16000000}}})"),
              HasSubstr("token 'b' has no usable id"));
  EXPECT_THAT(error(R"({"model": {"merges": [], "vocab": {"a": 0, "b": 900}}})"),
              HasSubstr("neither byte-level BPE nor"));
  EXPECT_THAT(error(R"({"model": {"merges": [], "vocab": {"a": 0}}})"),
              HasSubstr("neither byte-level BPE nor"));
  EXPECT_THAT(error(R"({"model": {"merges": ["ab"], "vocab": {"a": 0}, "byte_fallback": true}})"),
              HasSubstr("pairs"));
  EXPECT_THAT(
      error(R"({"model": {"merges": [], "vocab": {"a": 0}}, "added_tokens": [{"id": -5, "content": ""}]})"),
      HasSubstr("added_tokens"));
}

TEST(PreTokenizerName, EveryNameIsOneThatTheTokenizerKnows) {
  const auto name = [](const char* text, bool composes) {
    return pre_tokenizer_name(nlohmann::json::parse(text), composes, false, "t.json");
  };
  const char* digits =
      R"({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true},
    {"type": "ByteLevel", "add_prefix_space": false}]})";
  EXPECT_EQ(name(digits, false), "smollm");
  EXPECT_EQ(name(digits, true), "command-r");
  EXPECT_EQ(name(R"({"type": "ByteLevel", "add_prefix_space": false})", false), "gpt-2");
  EXPECT_EQ(name(R"({"type": "ByteLevel", "add_prefix_space": false})", true), "olmo");
  EXPECT_EQ(name(R"({"type": "Sequence", "pretokenizers": [{"type": "Punctuation", "behavior": "Contiguous"},
    {"type": "ByteLevel", "add_prefix_space": false}, {"type": "Digits", "individual_digits": false},
    {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}}]})",
                 false),
            "falcon");
  const std::string message = error_of([&] { name(R"({"type": "Whitespace"})", false); });
  EXPECT_THAT(message, HasSubstr("t.json: pre_tokenizer: Whitespace is none that is known"));
  std::istringstream known(message.substr(message.find('(') + 1));
  for (std::string one; std::getline(known, one, ',');) {
    one.erase(std::remove_if(one.begin(), one.end(), [](char c) { return c == ' ' || c == ')'; }), one.end());
    EXPECT_NE(find_pre_tokenizer(one), nullptr) << one;
  }
}

// A byte-level tokenizer.json of the 256 letters, whose regular expression is Qwen's, and further fields.
std::string byte_level_json(const ordered_json& normalizer, bool ignore_merges) {
  ordered_json vocab = ordered_json::object();
  for (int byte = 0; byte < 256; ++byte) {
    std::string letter;
    append_utf8(letter, byte_to_letter(uint8_t(byte)));
    vocab[letter] = byte;
  }
  vocab["Ã©"] = 256;
  const char* regex =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
      R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
  const ordered_json split = {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}};
  const ordered_json letters = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  return ordered_json{{"added_tokens", ordered_json::array()},
                      {"normalizer", normalizer},
                      {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, letters}}}},
                      {"model",
                       {{"type", "BPE"},
                        {"ignore_merges", ignore_merges},
                        {"vocab", vocab},
                        {"merges", ordered_json::array({"Ã ©"})}}}}
      .dump();
}

// Composing goes by the pre-tokenizer's name where there is one, else by a key.
TEST(TokenizerJson, TheNormalizerSaysWhetherAccentsAreComposed) {
  struct Case {
    ordered_json normalizer;
    bool ignore_merges, composes;
    const char* pre;
    bool has_key;
  };
  const ordered_json nfc = {{"type", "NFC"}};
  const ordered_json sequence = {{"type", "Sequence"}, {"normalizers", {nfc}}};
  const ordered_json none = {{"type", "Sequence"}, {"normalizers", ordered_json::array()}};
  for (const Case& c : {Case{nfc, false, true, "qwen2", false}, Case{sequence, false, true, "qwen2", false},
                        Case{nullptr, false, false, "qwen2", false}, Case{none, false, false, "qwen2", false},
                        Case{nfc, true, true, "qwen2", true}}) {
    AddedTokens added;
    const HfVocabulary read =
        vocabulary_of_tokenizer_json(byte_level_json(c.normalizer, c.ignore_merges), "t.json", added);
    EXPECT_EQ(read.pre, c.pre);
    EXPECT_EQ(read.ignore_merges.has_value(), c.has_key);
    EXPECT_EQ(read.composes.has_value(), !c.composes);
    EXPECT_TRUE(read.not_done.empty());
    EXPECT_EQ(tokenizer_of(read).encode("e\u0301").size(), c.composes ? 1u : 3u) << c.pre;
  }
}

TEST(TokenizerJson, AKeySaysWhatNoNameDoes) {
  AddedTokens added;
  HfVocabulary read =
      vocabulary_of_tokenizer_json(byte_level_json({{"type", "NFC"}}, false), "t.json", added);
  read.pre = "llama-bpe";
  EXPECT_EQ(tokenizer_of(read).encode("e\u0301").size(), 3u);
  read.composes = true;
  EXPECT_EQ(tokenizer_of(read).encode("e\u0301").size(), 1u);
}

TEST(TokenizerJson, ANormalizerThatIsNotAppliedIsSaid) {
  AddedTokens added;
  const ordered_json both = {{"type", "Sequence"},
                             {"normalizers", {{{"type", "NFC"}}, {{"type", "Lowercase"}}}}};
  const HfVocabulary read = vocabulary_of_tokenizer_json(byte_level_json(both, false), "t.json", added);
  ASSERT_EQ(read.not_done.size(), 1u);
  EXPECT_THAT(read.not_done[0], HasSubstr("t.json: normalizer: Lowercase is not applied"));
}

// A folder with a byte-level tokenizer of GLM's roles, and the ids that end an answer.
HfVocabulary read_with_ends(const char* ends, std::vector<std::string>& said) {
  const test::TemporaryFolder folder;
  ordered_json root = ordered_json::parse(byte_level_json(nullptr, false));
  for (const char* token : {"<|endoftext|>", "<|user|>", "<|observation|>", "<|third|>"}) {
    const size_t id = root["model"]["vocab"].size() + root["added_tokens"].size();
    root["added_tokens"].push_back({{"id", id}, {"content", token}, {"special", true}});
  }
  const auto write = [&](const char* name, const std::string& text) {
    std::ofstream(folder.at(name)) << text;
  };
  write("tokenizer.json", root.dump());
  write("tokenizer_config.json", R"({"eos_token": "<|endoftext|>"})");
  write("generation_config.json", fmt::format(R"({{"eos_token_id": {}}})", ends));
  return read_hf_vocabulary(folder.path(), {261, true}, {},
                            [&](std::string_view text) { said.emplace_back(text); });
}

TEST(HfVocabulary, AnAnswerEndsWhereTheGenerationConfigSaysSo) {
  std::vector<std::string> said;
  const HfVocabulary one = read_with_ends("257", said);
  EXPECT_EQ(one.eos, 257);
  EXPECT_EQ(one.eot, 257);
  EXPECT_EQ(one.eom, std::nullopt);
  const HfVocabulary list = read_with_ends("[257, 258, 259]", said);
  EXPECT_EQ(list.eot, 258);
  EXPECT_EQ(list.eom, 259);
  EXPECT_TRUE(said.empty());
  const Tokenizer tokenizer = tokenizer_of(list);
  EXPECT_TRUE(tokenizer.is_end(257) && tokenizer.is_end(258) && tokenizer.is_end(259));
  EXPECT_FALSE(tokenizer.is_end(260));
  EXPECT_EQ(read_with_ends("[257, 258, 259, 260, 9999, \"x\"]", said).eom, 259);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_THAT(said[0], HasSubstr("eos_token_id: 260 ('<|third|>') is left out"));
}

// As Python reads it, and without what Windows' editors put before it.
TEST(HfVocabulary, AChatTemplateOfWindowsIsATemplate) {
  const test::TemporaryFolder folder;
  const auto write = [&](const char* name, const std::string& text) {
    std::ofstream(folder.at(name), std::ios::binary) << text;
  };
  write("tokenizer.json", byte_level_json(nullptr, false));
  write("tokenizer_config.json", "\xef\xbb\xbf{\r\n}\r\n");
  write("chat_template.jinja", "\xef\xbb\xbf{{ bos_token }}\r\n{{ messages }}\r\n");
  const HfVocabulary read = read_hf_vocabulary(folder.path(), {261, true}, {}, [](std::string_view) {});
  ASSERT_EQ(read.chat_templates.size(), 1u);
  EXPECT_EQ(read.chat_templates[0].second, "{{ bos_token }}\n{{ messages }}\n");
}

TEST(SentencePiece, DamagedFilesAreRefused) {
  const auto error = [](std::string_view bytes) {
    return error_of([&] { parse_sentencepiece(test::as_bytes(bytes), "t.model"); });
  };
  const std::string piece(
      "\x0a\x08\x0a\x01"
      "a\x15\x00\x00\x80\xbf",
      10),
      bpe("\x12\x02\x18\x02", 4);
  EXPECT_EQ(error(piece + bpe), "");
  EXPECT_THAT(error(piece), HasSubstr("of type unigram")) << "the format's default";
  for (size_t n = 1; n < piece.size(); ++n) {
    EXPECT_THAT(error(piece.substr(0, n)), HasSubstr("t.model: not a SentencePiece model")) << n;
  }
  EXPECT_THAT(error(""), HasSubstr("not a SentencePiece model"));
  EXPECT_THAT(error(std::string(11, '\xff')), HasSubstr("not a SentencePiece model"));
  EXPECT_THAT(error(std::string("\x0a\x02\x18\x09", 4) + bpe), HasSubstr("not a SentencePiece model"))
      << "a type";
}

}  // namespace hf_vocabulary_test
}  // namespace lora
