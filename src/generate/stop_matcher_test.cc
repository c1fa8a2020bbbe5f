#include "generate/stop_matcher.h"

#include <gtest/gtest.h>

namespace lora {
namespace stop_matcher_test {

// The whole of what comes out when the text is pushed in pieces of `size` bytes.
std::string run(const std::vector<std::string>& stops, std::string_view text, size_t size) {
  StopMatcher matcher(stops);
  std::string out;
  for (size_t i = 0; i < text.size(); i += size) out += matcher.push(text.substr(i, size));
  return out + matcher.finish();
}

TEST(StopMatcher, PassesTextWithoutStopStrings) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("one "), "one ");
  EXPECT_EQ(matcher.push("two"), "two");
  EXPECT_EQ(matcher.finish(), "");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, HoldsBackABegunStopStringUntilItIsDecided) {
  StopMatcher matcher({"###"});
  EXPECT_EQ(matcher.push("a #"), "a ");
  EXPECT_EQ(matcher.push("#"), "");
  EXPECT_EQ(matcher.push("b"), "##b");
  EXPECT_EQ(matcher.push("##"), "");
  EXPECT_EQ(matcher.finish(), "##");
}

TEST(StopMatcher, DropsTheStopStringAndAllAfterIt) {
  StopMatcher matcher({"</s>"});
  EXPECT_EQ(matcher.push("end</"), "end");
  EXPECT_EQ(matcher.push("s>more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.push("and more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, HeldBackPrefixMayStartInsideAFailedOne) {
  EXPECT_EQ(run({"aab"}, "aaab!", 1), "a");
}

TEST(StopMatcher, FirstCompletedStopStringCounts) {
  EXPECT_EQ(run({"abcd", "bc"}, "xabcd", 1), "xa");
  EXPECT_EQ(run({"abcd", "bc"}, "xabcd", 5), "xa");
}

TEST(StopMatcher, LongestOfThoseEndingTogetherCounts) {
  EXPECT_EQ(run({"c", "abc"}, "xabc", 2), "x");
}

TEST(StopMatcher, EmptyStopStringMatchesNothing) {
  EXPECT_EQ(run({""}, "text", 1), "text");
}

TEST(StopMatcher, NeverSplitsACharacter) {
  const std::string text = "a\u00e9\u20ac\U0001f600z";
  StopMatcher matcher({});
  for (char byte : text) {
    const std::string out = matcher.push(std::string_view(&byte, 1));
    EXPECT_TRUE(out.empty() || out == "a" || out == "\u00e9" || out == "\u20ac" || out == "\U0001f600" ||
                out == "z")
        << out;
  }
  EXPECT_EQ(run({}, text, 1), text);
}

TEST(StopMatcher, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(run({}, "a\xff z", 1), "a\ufffd z");
  EXPECT_EQ(run({}, "cut \xe2\x82", 3), "cut \ufffd\ufffd");
  EXPECT_EQ(run({}, "\xe2\x28", 1), "\ufffd(");
}

TEST(StopMatcher, ResultDoesNotDependOnThePieces) {
  const std::string text = "Once \u20ac upon\n\n\xf0\x9f\x98 a time\n### Instruction: \xc3\xa9nd";
  const std::vector<std::vector<std::string>> cases = {
      {"### Instr"}, {"\u20ac up"}, {"\xa9n"}, {"nope", "\n\n\n"}};
  for (const auto& stops : cases) {
    const std::string whole = run(stops, text, text.size());
    for (size_t size = 1; size < text.size(); ++size) EXPECT_EQ(run(stops, text, size), whole) << size;
  }
}

}  // namespace stop_matcher_test
}  // namespace lora
