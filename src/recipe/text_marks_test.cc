#include "recipe/text_marks.h"

#include <gtest/gtest.h>

#include <string>

namespace lora {
namespace text_marks_test {

std::string repeated(const std::string& text, int n) {
  std::string result;
  for (int i = 0; i < n; ++i) result += text;
  return result;
}

TEST(TextMarks, ATagThatTheTextBeginsWith) {
  EXPECT_EQ(find_mark(repeated("<s>One day.\n", 3)), (TextMark{"<s>", false, 3}));
  EXPECT_EQ(find_mark("\n\n" + repeated("[START]\nOne day.\n\n", 4)), (TextMark{"[START]", false, 4}));
  EXPECT_EQ(find_mark(repeated("<START>a", 5)), (TextMark{"<START>", false, 5}));  // one line
}

TEST(TextMarks, WordsThatBeginSamplesStayInThem) {
  EXPECT_EQ(find_mark(repeated("### Instruction:\nSay it.\n\n### Response:\nIt.\n\n", 3)),
            (TextMark{"### Instruction:", true, 3}));
  EXPECT_EQ(find_mark(repeated("Q: why\nA: because\n", 7)), (TextMark{"Q:", true, 7}));
  EXPECT_EQ(find_mark(repeated("**Question:** why\n", 7)), (TextMark{"**Question:", true, 7}));
}

TEST(TextMarks, WordsWithinALineAreNoMark) {
  EXPECT_FALSE(find_mark("Q: why\nA: as in Q: before\nQ: how\nA: so\nQ: x\n"));
  EXPECT_FALSE(find_mark(repeated("Chapter: one\ntext\n", 5)));
}

TEST(TextMarks, LinesOfSignsBetweenShortTexts) {
  EXPECT_EQ(find_mark("one\n---\ntwo\n---\nthree\n"), (TextMark{"\n---\n", false, 3}));
  EXPECT_EQ(find_mark("one\n<|endoftext|>\ntwo\n<|endoftext|>\nthree"),
            (TextMark{"\n<|endoftext|>\n", false, 3}));
  EXPECT_FALSE(find_mark("one\n---\ntwo\n"));                // two are no set of samples
  EXPECT_FALSE(find_mark("one\n--\ntwo\n--\nthree\n--\n"));  // too short to be meant
}

TEST(TextMarks, BreaksOfScenesInANovelAreNone) {
  const std::string scene = repeated("It was a dark night, and the rain fell.\n", 300);
  EXPECT_FALSE(find_mark(scene + "***\n" + scene + "***\n" + scene + "***\n" + scene));
}

TEST(TextMarks, ProseHasNone) {
  EXPECT_FALSE(find_mark(""));
  EXPECT_FALSE(find_mark(" \n\n"));
  EXPECT_FALSE(find_mark("It was a dark night.\n\nThe rain fell.\n"));
  EXPECT_FALSE(find_mark("<p>One</p>\n<b>two</b>\n"));
  EXPECT_FALSE(find_mark("<" + std::string(100, 'a') + ">"));
  EXPECT_FALSE(find_mark("[unclosed\n[unclosed\n[unclosed\n"));
}

}  // namespace text_marks_test
}  // namespace lora
