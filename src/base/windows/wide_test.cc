// Texts, paths and errors as Windows has them.
#include "base/windows/wide.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "base/path.h"

namespace lora {
namespace windows_wide_test {

using Parts = std::pair<std::string, std::string>;

TEST(Wide, TextsComeBackAsTheyWere) {
  for (const char* text :
       {"", "model.gguf", "модель", "模型", "\xf0\x9f\x90\x9f.txt", "\xed\xa0\xbd|\xed\xb0\x9f"})
    EXPECT_EQ(narrow(wide(text)), text);
  EXPECT_EQ(wide("\xf0\x9f\x90\x9f"), L"\xd83d\xdc1f");
  EXPECT_EQ(wide("a\xff\xc3"), L"a\xfffd\xfffd");
}

TEST(Wide, LongPathsAreWholeAndMarkedAsLong) {
  EXPECT_EQ(wide_path("C:/a/b"), L"C:/a/b");
  const std::string name(200, 'n');
  EXPECT_THAT(narrow(wide_path("C:/a/./x/../" + name + "/" + name)), "\\\\?\\C:\\a\\" + name + "\\" + name);
  EXPECT_THAT(narrow(wide_path("//host/share/" + name + "/" + name)),
              "\\\\?\\UNC\\host\\share\\" + name + "\\" + name);
  EXPECT_EQ(narrow_path(L"\\\\?\\UNC\\host\\share\\a"), "\\\\host\\share\\a");
  EXPECT_EQ(narrow_path(L"\\\\?\\C:\\a"), "C:\\a");
  EXPECT_TRUE(wide_path(name + "/" + name).starts_with(L"\\\\?\\"));  // of this folder
}

TEST(WindowsPath, HasDrivesSharesAndBothSeparators) {
  EXPECT_EQ(split_path("a\\b/c"), Parts("a\\b/", "c"));
  EXPECT_EQ(split_path("C:\\c"), Parts("C:\\", "c"));
  EXPECT_EQ(split_path("C:c"), Parts("C:", "c"));
  EXPECT_EQ(folder_of("C:\\c"), "C:\\");
  EXPECT_EQ(folder_of("C:c"), "C:");
  EXPECT_EQ(folder_of("C:\\a\\c"), "C:\\a");
  EXPECT_EQ(folder_of("\\\\host\\share\\c"), "\\\\host\\share\\");
  EXPECT_EQ(split_path("\\\\host\\share\\a\\c"), Parts("\\\\host\\share\\a\\", "c"));
  EXPECT_EQ(folder_of("\\\\?\\C:\\c"), "\\\\?\\C:\\");
  EXPECT_EQ(root_size("\\\\?\\UNC\\host\\share\\c"), 19u);
  EXPECT_EQ(last_part_of("C:\\models\\tiny\\", "my"), "tiny");
  EXPECT_EQ(last_part_of("C:\\", "my"), "my");
  EXPECT_EQ(without_last_separators("C:\\"), "C:\\");
  EXPECT_EQ(fold_case("c:/Модель.gguf"), fold_case("C:\\модель.GGUF"));
  EXPECT_EQ(absolute_path("C:\\a\\..\\b/c"), "C:\\b\\c");
}

TEST(WindowsErrors, AreSaidAsOnOtherSystems) {
  EXPECT_EQ(windows_error(ERROR_FILE_NOT_FOUND).message(), "No such file or directory");
  EXPECT_TRUE(windows_error(ERROR_PATH_NOT_FOUND) == std::errc::no_such_file_or_directory);
  EXPECT_TRUE(windows_error(ERROR_ALREADY_EXISTS) == std::errc::file_exists);
  EXPECT_TRUE(windows_error(ERROR_LOCK_VIOLATION) == std::errc::operation_would_block);
  EXPECT_FALSE(windows_error(ERROR_CALL_NOT_IMPLEMENTED).message().empty());
  EXPECT_EQ(windows_error(0xdead).message(), "Windows error 57005");
}

}  // namespace windows_wide_test
}  // namespace lora
