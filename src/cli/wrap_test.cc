#include "cli/wrap.h"

#include <gtest/gtest.h>

namespace lora::cli {
namespace wrap_test {

TEST(Wrap, BreaksAtSpacesAndIndents) {
  EXPECT_EQ(wrap("aa bb cc", 5, 2), "aa bb\n  cc");
}

TEST(Wrap, LeavesLongWordsWhole) {
  EXPECT_EQ(wrap("a /a/long/name.gguf b", 5, 2), "a\n  /a/long/name.gguf\n  b");
}

TEST(Wrap, CountsLettersNotBytes) {
  EXPECT_EQ(wrap("äöü äöü", 7, 0), "äöü äöü");
}

TEST(WrapMessage, FitsTheTerminalAndLeavesAPipeAlone) {
  const std::string line = "warning: one two three four five";
  EXPECT_EQ(wrap_message(line, 0), line);
  EXPECT_EQ(wrap_message(line, 19), line);
  EXPECT_EQ(wrap_message(line, 20), "warning: one two\n  three four five");
  EXPECT_EQ(wrap_message(line, 200), line);
}

}  // namespace wrap_test
}  // namespace lora::cli
