#include "data/cutter.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "data/samples.h"

namespace lora {
namespace cutter_test {

using testing::ElementsAre;
using testing::IsEmpty;

// Each sample's text; a blank one in brackets.
std::vector<std::string> cut(std::string_view text, std::string_view pattern, bool include = false) {
  std::vector<std::string> result;
  SampleCutter cutter(text, pattern, include);
  while (const auto sample = cutter.next()) {
    result.push_back(sample->blank ? fmt::format("[{}]", sample->text) : std::string(sample->text));
  }
  return result;
}

TEST(Cutter, SamplesBeginAfterEachOccurrence) {
  EXPECT_THAT(cut("#one#two", "#"), ElementsAre("one", "two"));
}
TEST(Cutter, TextBeforeTheFirstOccurrenceIsASample) {
  EXPECT_THAT(cut("zero#one", "#"), ElementsAre("zero", "one"));
}
TEST(Cutter, BlankTextBeforeTheFirstOccurrenceIsNone) {
  EXPECT_THAT(cut(" \n#one", "#"), ElementsAre("one"));
}
TEST(Cutter, PatternAtTheEndStartsABlankSample) {
  EXPECT_THAT(cut("one#", "#"), ElementsAre("one", "[]"));
}
TEST(Cutter, AdjacentPatternsEncloseABlankSample) {
  EXPECT_THAT(cut("#one## \n#two", "#"), ElementsAre("one", "[]", "[ \n]", "two"));
}
TEST(Cutter, OccurrencesAreFoundFromTheLeftWithoutOverlap) {
  EXPECT_THAT(cut("aaab", "aa"), ElementsAre("ab"));
  EXPECT_THAT(cut("1aaa2", "aa"), ElementsAre("1", "a2"));
}
TEST(Cutter, WithoutOccurrenceTheTextIsOneSample) {
  EXPECT_THAT(cut("one line", "#"), ElementsAre("one line"));
  EXPECT_THAT(cut("x", "a pattern longer than the text"), ElementsAre("x"));
}
TEST(Cutter, NothingButWhiteSpaceGivesNoSample) {
  EXPECT_THAT(cut("", "#"), IsEmpty());
  EXPECT_THAT(cut(" \t\r\n\v\f", "#"), IsEmpty());
}
TEST(Cutter, IncludedPatternBelongsToTheSampleItStarts) {
  EXPECT_THAT(cut("zero<s>one<s>two", "<s>", true), ElementsAre("zero", "<s>one", "<s>two"));
}
TEST(Cutter, IncludedPatternAloneIsBlank) {
  EXPECT_THAT(cut("<s><s> <s>one", "<s>", true), ElementsAre("[<s>]", "[<s> ]", "<s>one"));
}
TEST(Cutter, BytesOfAnyValueAreText) {
  const std::string text("a\0b\xff#\0", 6);
  EXPECT_THAT(cut(text, "#"), ElementsAre(std::string("a\0b\xff", 4), std::string("\0", 1)));
}

TEST(Unescape, ReplacesTheSixSequences) {
  EXPECT_EQ(unescape(R"(\n\r\t\'\"\\)"), "\n\r\t'\"\\");
}
TEST(Unescape, LeavesOtherBackslashesAsTheyAre) {
  EXPECT_EQ(unescape(R"(\x \0 a\)"), R"(\x \0 a\)");
}
TEST(Unescape, ReadsAnEscapedBackslashOnce) {
  EXPECT_EQ(unescape(R"(\\n)"), R"(\n)");
}

}  // namespace cutter_test
}  // namespace lora
