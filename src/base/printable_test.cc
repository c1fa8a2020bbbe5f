#include "base/printable.h"

#include <gtest/gtest.h>

namespace lora {
namespace printable_test {

TEST(Printable, EscapesControlCharactersAndWhatIsNotUtf8) {
  EXPECT_EQ(printable("plain \xe2\x96\x81 \xf0\x9f\x98\x80"), "plain \xe2\x96\x81 \xf0\x9f\x98\x80");
  EXPECT_EQ(printable(std::string_view("\n\r\t\0\x7f", 5)), "\\n\\r\\t\\x00\\x7f");
  EXPECT_EQ(printable("\xc2\x85"), "\\xc2\\x85");                    // U+0085, a control character
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
  EXPECT_EQ(printable("\xe2\x96"), "\\xe2\\x96");                    // cut off
}

TEST(Printable, CutsAtACharacter) {
  EXPECT_EQ(printable("abcdef", 6), "abcdef");
  EXPECT_EQ(printable("abcdef", 5), "abcde...");
  EXPECT_EQ(printable("ab\xe2\x96\x81", 4), "ab...");
}

TEST(Printable, EscapesWhatHidesOrReordersText) {
  EXPECT_EQ(printable("a\xe2\x80\xae"
                      "cba"),
            "a\\xe2\\x80\\xae"
            "cba");  // U+202E, right to left from here
  EXPECT_EQ(printable("\xe2\x81\xa6\xe2\x80\x8b"), "\\xe2\\x81\\xa6\\xe2\\x80\\x8b");  // U+2066, U+200B
  EXPECT_EQ(printable("\xf3\xa0\x81\x81"), "\\xf3\\xa0\\x81\\x81");                    // U+E0041, a tag
  EXPECT_EQ(printable("\xd8\xa7\xe2\x80\x8c\xf0\x9f\x91\xa9\xe2\x80\x8d"),
            "\xd8\xa7\xe2\x80\x8c\xf0\x9f\x91\xa9\xe2\x80\x8d")
      << "joiners are part of Persian words and of emoji";
}

TEST(Printable, TwiceIsAsOnce) {
  const std::string once = printable("\x1b[2J\xff\n\\x1b");
  EXPECT_EQ(once, "\\x1b[2J\\xff\\n\\x1b");
  EXPECT_EQ(printable(once), once);
}

TEST(Printable, OfLinesKeepsLineFeedsAndTabs) {
  EXPECT_EQ(printable_lines("a\tb\n\x1b]0;t\a\r\n"), "a\tb\n\\x1b]0;t\\x07\\r\n");
}

TEST(Printable, OfJsonMeansTheSame) {
  EXPECT_EQ(printable_json("{\n \"a\x7f\xc2\x9b\": \"\xe2\x80\xae\xf3\xa0\x81\x81\xe2\x96\x81\"}"),
            "{\n \"a\\u007f\\u009b\": \"\\u202e\\udb40\\udc41\xe2\x96\x81\"}");
}

TEST(Printable, AMessageIsALineOfBoundedLength) {
  EXPECT_EQ(message_line("file: why"), "file: why");
  const std::string line = message_line("BEGIN" + std::string(1 << 20, '\x1b') + "\nEND");
  EXPECT_LE(line.size(), 500u);
  EXPECT_TRUE(line.starts_with("BEGIN\\x1b"));
  EXPECT_TRUE(line.ends_with("\\nEND"));
  std::string marks;
  for (int i = 0; i < 400; ++i) marks += "\xe2\x96\x81";
  for (size_t most = 40; most < 50; ++most) {
    const std::string cut = message_line(marks, most);
    EXPECT_LE(cut.size(), most);
    EXPECT_EQ(cut.find("\\x"), cut.npos) << "cut within a character: " << cut;
  }
}

}  // namespace printable_test
}  // namespace lora
