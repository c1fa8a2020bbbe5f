#include "base/printable.h"

#include <gtest/gtest.h>

namespace lora {
namespace {

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

}  // namespace
}  // namespace lora
