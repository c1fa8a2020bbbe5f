#include "train/name_pattern.h"

#include <gtest/gtest.h>

namespace lora {
namespace name_pattern_test {

constexpr const char* kMark = "ITERATION";

TEST(NamePattern, IsFilledEverywhere) {
  EXPECT_EQ(fill_pattern("a-ITERATION-ITERATION.gguf", kMark, "12"), "a-12-12.gguf");
  EXPECT_EQ(fill_pattern("plain.gguf", kMark, "12"), "plain.gguf");
  EXPECT_EQ(fill_pattern("x", "", "12"), "x");
}

TEST(NamePattern, IsKnownInANumberedName) {
  EXPECT_TRUE(is_numbered("a-12.gguf", "a-ITERATION.gguf", kMark));
  EXPECT_TRUE(is_numbered("a-12-12.gguf", "a-ITERATION-ITERATION.gguf", kMark));
  EXPECT_FALSE(is_numbered("a-12-13.gguf", "a-ITERATION-ITERATION.gguf", kMark));
  EXPECT_FALSE(is_numbered("a-.gguf", "a-ITERATION.gguf", kMark));
  EXPECT_FALSE(is_numbered("a-LATEST.gguf", "a-ITERATION.gguf", kMark));
}

TEST(NamePattern, CanBeEqualToAnother) {
  const auto meet = [](const char* a, const char* b) {
    EXPECT_EQ(can_be_equal(a, b, kMark), can_be_equal(b, a, kMark)) << a << " " << b;
    return can_be_equal(a, b, kMark);
  };
  EXPECT_TRUE(meet("a-ITERATION.gguf", "a-3.gguf"));
  EXPECT_TRUE(meet("a-ITERATION.gguf", "./b/../a-30.gguf"));
  EXPECT_TRUE(meet("a-ITERATION.gguf", "a-ITERATION.gguf"));
  EXPECT_TRUE(meet("a-ITERATION.gguf", "a-1ITERATION.gguf"));
  EXPECT_TRUE(meet("a-ITERATION1.gguf", "a-2ITERATION.gguf"));
  EXPECT_TRUE(meet("ITERATION/aITERATION", "3/a4"));
  EXPECT_FALSE(meet("a-ITERATION.gguf", "a-.gguf"));
  EXPECT_FALSE(meet("a-ITERATION.gguf", "a-LATEST.gguf"));
  EXPECT_FALSE(meet("a-ITERATION.gguf", "b-3.gguf"));
  EXPECT_FALSE(meet("run1-ITERATION.gguf", "run2-ITERATION.gguf"));
  EXPECT_FALSE(meet("a-ITERATION.gguf", "a-3.gguf.tmp"));
  EXPECT_FALSE(meet("a-ITERATION.gguf", "c/a-3.gguf"));
  EXPECT_TRUE(meet("same", "same"));
}

}  // namespace name_pattern_test
}  // namespace lora
