#include "tokenizer/compose.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <chrono>
#include <cstdlib>
#include <memory>

#include "tokenizer/test_vocabularies.h"

namespace lora {
namespace compose_test {

std::string nfc(std::string_view text) {
  std::string buffer;
  return std::string(composed(text, buffer));
}

// utf8proc's own NFC of a whole text without stray bytes and NUL.
std::string plain_nfc(const std::string& text) {
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> result(
      utf8proc_NFC(reinterpret_cast<const utf8proc_uint8_t*>(text.c_str())), &std::free);
  if (!result) throw std::runtime_error("utf8proc_NFC");
  return reinterpret_cast<const char*>(result.get());
}

std::string utf8(std::initializer_list<uint32_t> codes) {
  std::string text;
  for (const uint32_t code : codes) append_utf8(text, code);
  return text;
}

TEST(Compose, LettersTakeTheirAccents) {
  EXPECT_EQ(nfc("cafe\u0301 ok"), "caf\u00e9 ok");
  EXPECT_EQ(nfc("A\u030angstro\u0308m"), "\u00c5ngstr\u00f6m");
  EXPECT_EQ(nfc("Vie\u0323\u0302t"), "Vi\u1ec7t") << "marks in the order of their classes, both joined";
  EXPECT_EQ(nfc("Vie\u0302\u0323t"), "Vi\u1ec7t") << "whatever order they come in";
  EXPECT_EQ(nfc("Vi\u00ea\u0323t"), "Vi\u1ec7t") << "a composed letter is taken apart for it";
  EXPECT_EQ(nfc("q\u0307\u0323"), "q\u0323\u0307") << "no such letter: the marks' order alone";
  EXPECT_EQ(nfc("<\u0338 =\u0338"), "\u226e \u2260");
}

TEST(Compose, JamoBecomeSyllables) {
  EXPECT_EQ(nfc("\u1112\u1161\u11ab\u1100\u116e\u11a8"), "\ud55c\uad6d");
  EXPECT_EQ(nfc("\uac00\u11a8"), "\uac01") << "an open syllable and its final consonant";
  EXPECT_EQ(nfc("\u1100\u1100"), "\u1100\u1100");
}

// Characters that stand for others, and compositions that Unicode excludes.
TEST(Compose, SomeCharactersComeApart) {
  EXPECT_EQ(nfc("\u212b \u2126 \u212a"), "\u00c5 \u03a9 K");
  EXPECT_EQ(nfc("\u0958 \ufb1d"), "\u0915\u093c \u05d9\u05b4");
  EXPECT_EQ(nfc("\u0344"), "\u0308\u0301");
}

TEST(Compose, TextThatIsComposedIsNotCopied) {
  for (const std::string text : {"", "plain", "caf\u00e9 \u4e2d\u6587 \ud55c\uad6d\uc5b4 \U0001f600",
                                 "\u0928\u092e\u0938\u094d\u0924\u0947"}) {
    std::string buffer = "untouched";
    EXPECT_EQ(composed(text, buffer), text);
    EXPECT_TRUE(text.find("\u094d") != text.npos || buffer == "untouched") << text;
  }
}

TEST(Compose, NothingCombinesAcrossStrayBytes) {
  EXPECT_EQ(nfc("e\xff\u0301e\u0301"), "e\xff\u0301\u00e9");
  EXPECT_EQ(nfc("\u0301x"), "\u0301x");
  EXPECT_EQ(nfc("e\xcc"), "e\xcc");
  EXPECT_EQ(nfc(std::string("e\0\u0301", 4)), std::string("e\0\u0301", 4));
}

// Every character there is, between letters, alone, before and after a mark.
TEST(Compose, AgreesWithUtf8procOnEveryCharacter) {
  for (uint32_t code = 1; code < 0x110000; ++code) {
    if (code >= 0xd800 && code < 0xe000) continue;
    const std::string text =
        utf8({'a', code, 'b', ' ', code, 0x301, ' ', 'e', 0x323, code, 0x302, ' ', 0x1100, code, 0x11a8});
    ASSERT_EQ(nfc(text), plain_nfc(text)) << fmt::format("U+{:04X}", code);
  }
}

TEST(Compose, AgreesWithUtf8procOnRandomText) {
  test::Dice dice{19};
  const uint32_t marks[] = {0x300, 0x301, 0x302, 0x308, 0x323, 0x327, 0x338, 0x345,  0x5b4,  0x5bc,
                            0x653, 0x93c, 0x9be, 0x9c7, 0xbbe, 0xdca, 0xfb5, 0x1161, 0x11a8, 0x3099};
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (uint64_t n = dice.below(12); n > 0; --n) {
      uint32_t code = marks[dice.below(std::size(marks))];
      if (dice.below(2)) code = 'a' + uint32_t(dice.below(26));
      if (dice.below(4) == 0) code = uint32_t(1 + dice.below(0x2fff));
      if (dice.below(16) == 0) code = 0xac00 + uint32_t(dice.below(11172));
      append_utf8(text, code);
    }
    const std::string once = nfc(text);
    ASSERT_EQ(once, plain_nfc(text)) << text;
    ASSERT_EQ(nfc(once), once) << text;
  }
}

// Sorting by exchange of neighbours would take hours.
TEST(Compose, LongRunsOfMarksTakeLittleTime) {
  std::string text = "a";
  for (int i = 0; i < 300'000; ++i) text += i % 2 ? "\u0323" : "\u0301";
  const auto start = std::chrono::steady_clock::now();
  const std::string result = nfc(text);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_TRUE(result.starts_with("\u1ea1\u0323")) << "the marks below come first";
}

}  // namespace compose_test
}  // namespace lora
