#include "base/process.h"

#include <gtest/gtest.h>

namespace lora {
namespace process_test {

TEST(ShellWord, IsQuotedWhereItHasToBe) {
  EXPECT_EQ(shell_word("models/tiny-q8_0.gguf"), "models/tiny-q8_0.gguf");
  EXPECT_EQ(shell_word(""), "''");
  EXPECT_EQ(shell_word("a b"), "'a b'");
  EXPECT_EQ(shell_word("<s>"), "'<s>'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_word("$(rm)"), "'$(rm)'");
}

}  // namespace process_test
}  // namespace lora
