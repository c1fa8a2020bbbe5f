#include "base/path.h"

#include <gtest/gtest.h>

namespace lora {
namespace path_test {

using Parts = std::pair<std::string, std::string>;

TEST(Path, IsAFolderAndAName) {
  EXPECT_EQ(split_path("name"), Parts("", "name"));
  EXPECT_EQ(split_path("a/b/name"), Parts("a/b/", "name"));
  EXPECT_EQ(split_path("a//"), Parts("a//", ""));
  EXPECT_EQ(split_path("/name"), Parts("/", "name"));
  EXPECT_EQ(folder_of("name"), ".");
  EXPECT_EQ(folder_of("a/b"), "a");
  EXPECT_EQ(folder_of("/name"), "/");
  EXPECT_EQ(folder_of("a//b"), "a/");
  EXPECT_EQ(path_in("a", "b"), "a/b");
  EXPECT_EQ(path_in("a/", "b"), "a/b");
  EXPECT_EQ(path_in("/", "b"), "/b");
  EXPECT_EQ(path_in("", "b"), "b");
}

TEST(Path, HasALastPart) {
  EXPECT_EQ(last_part_of("models/tiny/", "my"), "tiny");
  EXPECT_EQ(last_part_of("a/..", "my"), "my");
  EXPECT_EQ(last_part_of("//", "my"), "my");
  EXPECT_EQ(without_last_separators("a/b//"), "a/b");
  EXPECT_EQ(without_last_separators("/"), "/");
  EXPECT_EQ(without_ending("m.tar.gz"), "m.tar");
  EXPECT_EQ(without_ending(".m"), ".m");
  EXPECT_EQ(without_ending(".."), "..");
  EXPECT_EQ(without_ending("m."), "m");
}

// Whatever the system: an index that names such a file means one elsewhere on some machine.
TEST(Path, OfAPlainNameIsTheNameOnEverySystem) {
  for (const char* name : {"a", "model-00001-of-00002.safetensors", "..a", "\xc3\xa4 b"})
    EXPECT_TRUE(is_plain_name(name)) << name;
  for (const char* name : {"", ".", "..", "/a", "a/b", "a\\b", "..\\a", "C:a", "a:stream", "\\\\host\\a"})
    EXPECT_FALSE(is_plain_name(name)) << name;
}

}  // namespace path_test
}  // namespace lora
