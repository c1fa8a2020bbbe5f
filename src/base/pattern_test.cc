#include "base/pattern.h"

#include <gtest/gtest.h>

namespace lora {
namespace pattern_test {

std::optional<bool> matches(const char* expression, std::string_view text, Pattern::How how = {}) {
  const auto pattern = Pattern::compile(expression, how);
  EXPECT_TRUE(pattern) << expression;
  return pattern->matches(text);
}

TEST(Pattern, IsFoundAnywhereOrAtTheStartInThisCaseOrAny) {
  EXPECT_EQ(matches("b[0-9]+", "ab12"), true);
  EXPECT_EQ(matches("b[0-9]+", "ab12", {.at_start = true}), false);
  EXPECT_EQ(matches("a", "ab12", {.at_start = true}), true);
  EXPECT_EQ(matches("B", "ab12"), false);
  EXPECT_EQ(matches("B", "ab12", {.any_case = true}), true);
  EXPECT_EQ(matches("\\S=", " =", {.any_case = true}), false);  // not \s
  EXPECT_EQ(matches("", ""), true);
  EXPECT_EQ(matches("x$", ""), false);
}

TEST(Pattern, WhatIsNoneIsRefusedAndWhatTakesTooLongIsSaid) {
  for (const char* bad : {"(", "[", "*", "a{2,1}", "\\"}) EXPECT_FALSE(Pattern::compile(bad, {})) << bad;
  EXPECT_EQ(matches("(a+)+$", std::string(40, 'a') + "b"), std::nullopt);
}

}  // namespace pattern_test
}  // namespace lora
