#include "data/macros.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace lora {
namespace macros_test {

using testing::ElementsAre;
using testing::Pair;

const MacroValues kNames = {
    {"user", "Ann"}, {"char", "Bo"}, {"group", "Bo, Cy"}, {"charifnotgroup", "Bo, Cy"}};

std::string filled(std::string_view text, const MacroValues& values = kNames) {
  LeftMacros left;
  return fill_macros(text, values, left);
}
LeftMacros left_of(std::string_view text, const MacroValues& values = kNames) {
  LeftMacros left;
  EXPECT_EQ(fill_macros(text, values, left), text);
  return left;
}

TEST(Macros, NamesAreFilledInInAnyCase) {
  EXPECT_EQ(filled("{{user}} and {{CHAR}}, {{User}}{{char}}"), "Ann and Bo, AnnBo");
  EXPECT_EQ(filled("<USER> and <bot>, <Char>."), "Ann and Bo, Bo.");
  EXPECT_EQ(filled("{{group}} / {{charIfNotGroup}} / <GROUP> / <CHARIFNOTGROUP>"),
            "Bo, Cy / Bo, Cy / Bo, Cy / Bo, Cy");
}

TEST(Macros, ThoseWithoutValuesDoWhatTheySay) {
  EXPECT_EQ(filled("a{{newline}}b{{noop}}c"), "a\nbc");
  EXPECT_EQ(filled("a\n\n{{trim}}\n\nb {{trim}} c"), "ab  c");
  EXPECT_EQ(filled("a{{// not {{user}}'s\nbusiness}}b{{comment: x}}c{{hidden_key:y}}d"), "abcd");
}

TEST(Macros, InnerOnesComeFirstAndBracesAroundThemStay) {
  EXPECT_EQ(filled("{{{user}}}"), "{Ann}");
  EXPECT_EQ(filled("{{{{user}}}}"), "{{Ann}}");
  EXPECT_EQ(filled("{{no{{noop}}op}}"), "");
  EXPECT_EQ(filled("}} {{user}} {{ {a} <use"), "}} Ann {{ {a} <use");
}

TEST(Macros, WhatIsKnownNowhereStaysAndIsCountedByName) {
  const LeftMacros left =
      left_of("{{random:a,b}} {{random::c}} {{time}} {{ user }} {{x|y}} ${{ env }} {{roll 6}}");
  EXPECT_THAT(left.counts, ElementsAre(Pair(" env ", 1), Pair(" user ", 1), Pair("random", 2),
                                       Pair("roll", 1), Pair("time", 1), Pair("x|y", 1)));
  EXPECT_EQ(left.unknowable, "random");
  EXPECT_EQ(left_of("{{x}} {{time_UTC+2}}").unknowable, "time_utc+2");
  EXPECT_EQ(left_of("{{x}} {{user}} <USER>", {}).unknowable, "");
  EXPECT_THAT(left_of("{{user}} <USER>", {}).counts, ElementsAre(Pair("user", 1)));
}

TEST(Macros, NamesThatAreKeptAreFewAndShort) {
  std::string text;
  for (int i = 0; i < 150; ++i) text += fmt::format("{{{{m{:03}}}}}", i);
  const LeftMacros left = left_of(text);
  EXPECT_EQ(left.counts.size(), LeftMacros::kMostNames);
  EXPECT_TRUE(left.more);
  EXPECT_LT(left_of("{{" + std::string(100'000, 'x') + "}}").counts.begin()->first.size(), 50u);
}

// Nested a thousand times, or a name as long as a book: no more work than the text is long.
TEST(Macros, WorkIsBounded) {
  std::string deep;
  for (int i = 0; i < 200'000; ++i) deep += "{{a";
  for (int i = 0; i < 200'000; ++i) deep += "}}";
  EXPECT_THAT(left_of(deep).counts, ElementsAre(Pair("a", 200'000)));
  std::string users;
  for (int i = 0; i < 100'000; ++i) users += "{{user}}";
  LeftMacros left;
  EXPECT_THROW(fill_macros(users, {{"user", std::string(100'000, 'x')}}, left), Error);
}

}  // namespace macros_test
}  // namespace lora
