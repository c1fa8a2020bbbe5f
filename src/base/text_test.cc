// What a text is made of: UTF-8, letters' case, numbers; and bytes read in order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "base/ascii.h"
#include "base/byte_cursor.h"
#include "base/numbers.h"
#include "base/plural.h"
#include "base/utf8.h"

namespace lora {
namespace text_test {

using testing::HasSubstr;
using namespace std::string_view_literals;

TEST(Utf8, EveryCodePointComesBack) {
  for (uint32_t code = 0; code <= 0x10ffff; ++code) {
    if (code >= 0xd800 && code <= 0xdfff) continue;
    std::string text;
    append_utf8(text, code);
    const Utf8Step step = decode_utf8(text, 0);
    ASSERT_EQ(step.code, code);
    ASSERT_EQ(step.size, text.size());
    ASSERT_EQ(text.size(), code < 0x80 ? 1u : code < 0x800 ? 2u : code < 0x10000 ? 3u : 4u);
    ASSERT_EQ(valid_utf8_prefix(text), text.size());
    for (size_t n = 1; n < text.size(); ++n) {  // cut
      const std::string begin = text.substr(0, n);
      ASSERT_EQ(decode_utf8(begin, 0).code, kStrayByte + uint8_t(text[0])) << code;
      ASSERT_TRUE(is_cut_utf8(begin)) << code;
    }
    ASSERT_FALSE(is_cut_utf8(text)) << code;
  }
}

TEST(Utf8, WhatIsNotWellFormedIsReadByteByByte) {
  const std::string_view cases[] = {
      "\x80"sv,              // a continuation without a begin
      "\xc0\x80"sv,          // NUL in two bytes
      "\xc1\xbf"sv,          // the longest overlong form of two bytes
      "\xe0\x9f\xbf"sv,      // ... of three
      "\xf0\x8f\xbf\xbf"sv,  // ... of four
      "\xed\xa0\x80"sv,      // U+D800, the first surrogate
      "\xed\xbf\xbf"sv,      // U+DFFF, the last
      "\xf4\x90\x80\x80"sv,  // U+110000
      "\xf5\x80\x80\x80"sv,
      "\xff"sv,
      "\xc2\x41"sv,  // a letter where a continuation should be
      "\xe2\x82\x41"sv,
      "\xe2\x41\x82"sv,
      "\xf0\x9f\x98\x41"sv,
      "\xf0\x9f\xc2\x80"sv,
  };
  for (const std::string_view text : cases) {
    SCOPED_TRACE(testing::PrintToString(text));
    const Utf8Step step = decode_utf8(text, 0);
    EXPECT_EQ(step.code, kStrayByte + uint8_t(text[0]));
    EXPECT_EQ(step.size, 1u);
    EXPECT_EQ(valid_utf8_prefix(text), 0u);
    EXPECT_FALSE(is_cut_utf8(text)) << "more bytes make no character of it";
  }
  EXPECT_FALSE(is_cut_utf8("\xe0\x80")) << "overlong, whatever comes";
  EXPECT_FALSE(is_cut_utf8("\xed\xa0")) << "a surrogate, whatever comes";
  EXPECT_FALSE(is_cut_utf8("\xf4\x90")) << "above U+10FFFF, whatever comes";
  EXPECT_EQ(valid_utf8_prefix("a\xc3\xa4\xe2\x82"), 3u);
  EXPECT_EQ(valid_utf8_prefix(""), 0u);
}

TEST(Ascii, OnlyItsLettersHaveACase) {
  EXPECT_EQ(lower_case("Q4_K_M @[`{ \xc3\x84"), "q4_k_m @[`{ \xc3\x84");
  EXPECT_EQ(upper_case("iq4_nl @[`{ \xc3\xa4"), "IQ4_NL @[`{ \xc3\xa4");
  EXPECT_TRUE(equal_in_any_case("q4_K_m", "Q4_k_M"));
  EXPECT_FALSE(equal_in_any_case("q4_k", "q4_k_m"));
  EXPECT_FALSE(equal_in_any_case("@", "`")) << "32 apart, and no letters";
  EXPECT_TRUE(ends_in_any_case("A.JsonL", ".jsonl"));
  EXPECT_FALSE(ends_in_any_case("l", ".jsonl"));
}

TEST(Numbers, AreWholeTexts) {
  EXPECT_EQ(number_in<int64_t>("-12"), -12);
  EXPECT_EQ(number_in<int64_t>("9223372036854775807"), std::numeric_limits<int64_t>::max());
  for (const char* text : {"", " 1", "1 ", "+1", "1.5", "0x10", "9223372036854775808"})
    EXPECT_EQ(number_in<int64_t>(text), std::nullopt) << text;
  EXPECT_EQ(number_in<uint32_t>("-1"), std::nullopt);
  EXPECT_EQ(number_in<double>("1e-4"), 1e-4);
  for (const char* text : {"", "1,5", "1e-4x", "."}) EXPECT_EQ(number_in<double>(text), std::nullopt) << text;
  std::string_view text = "12.attn_q";
  EXPECT_EQ(take_number<uint32_t>(text), 12u);
  EXPECT_EQ(text, ".attn_q");
  EXPECT_EQ(take_number<uint32_t>(text), std::nullopt);
  EXPECT_EQ(text, ".attn_q");
}

TEST(CountOf, OneIsNotSeveral) {
  EXPECT_EQ(count_of(0, "sample"), "0 samples");
  EXPECT_EQ(count_of(1, "sample"), "1 sample");
  EXPECT_EQ(count_of(2, "sample"), "2 samples");
  EXPECT_EQ(count_of(1, "matrix", "matrices"), "1 matrix");
  EXPECT_EQ(count_of(0, "matrix", "matrices"), "0 matrices");
}

TEST(ListOf, NamesTheFirst) {
  EXPECT_EQ(list_of({}, 2), "");
  EXPECT_EQ(list_of({"a"}, 2), "a");
  EXPECT_EQ(list_of({"a", "b"}, 2), "a, b");
  EXPECT_EQ(list_of({"a", "b", "c", "d"}, 2), "a, b and 2 more");
  EXPECT_EQ(list_of({"a", "b", "c"}, 3, " and "), "a, b and c");
  EXPECT_EQ(list_of({"a", "b", "c"}, 2, " and "), "a, b and 1 more");
}

TEST(ByteCursor, ReadsInOrderAndNeverBeyondTheEnd) {
  const std::array<unsigned char, 7> data = {1, 2, 0, 0, 'a', 'b', 9};
  const std::string path = "f.bin";
  ByteCursor in{std::as_bytes(std::span(data)), path};
  EXPECT_EQ(in.number<uint32_t>(), 0x201u);
  EXPECT_EQ(in.text(2), "ab");
  EXPECT_EQ(in.left(), 1u);
  in.item = "a width";
  const auto expect_refused = [&](auto&& read) {
    try {
      read();
      ADD_FAILURE() << "read beyond the end";
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr("f.bin: truncated: a width needs "));
      EXPECT_THAT(e.what(), HasSubstr(" bytes at byte 6, 1 are left"));
    }
  };
  expect_refused([&] { in.number<uint16_t>(); });
  expect_refused([&] { in.take(2); });
  expect_refused([&] { in.text(std::numeric_limits<uint64_t>::max()); });
  EXPECT_EQ(in.number<uint8_t>(), 9);
  EXPECT_TRUE(in.at_end());
  EXPECT_TRUE(in.take(0).empty());
}

}  // namespace text_test
}  // namespace lora
