#include "base/process.h"

#include <gtest/gtest.h>

#include "base/windows/wide.h"
// After <windows.h>.
#include <shellapi.h>

namespace lora {
namespace windows_process_test {

TEST(ShellWord, IsQuotedWhereItHasToBe) {
  EXPECT_EQ(shell_word("C:\\models\\tiny-q8_0.gguf"), "C:\\models\\tiny-q8_0.gguf");
  EXPECT_EQ(shell_word(""), "\"\"");
  EXPECT_EQ(shell_word("a b"), "\"a b\"");
  EXPECT_EQ(shell_word("<s>"), "\"<s>\"");
  EXPECT_EQ(shell_word("say \"no\""), "\"say \\\"no\\\"\"");
  EXPECT_EQ(shell_word("C:\\my models\\"), "\"C:\\my models\\\\\"");
}

// As the system itself takes a command line apart.
TEST(ShellWord, ComesBackAsItWas) {
  for (const char* text :
       {"a", "", "a b", "a\"b", "a\\\"b", "a b\\", "\\\\host\\a b\\\\", "модель 1", "it's", "100%"}) {
    int n = 0;
    wchar_t** const words = CommandLineToArgvW(wide("lora.exe " + shell_word(text)).c_str(), &n);
    ASSERT_EQ(n, 2) << text;
    EXPECT_EQ(narrow(words[1]), text);
    LocalFree(words);
  }
}

}  // namespace windows_process_test
}  // namespace lora
