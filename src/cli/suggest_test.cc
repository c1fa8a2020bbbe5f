#include "cli/suggest.h"

#include <gtest/gtest.h>

#include "base/timing.h"

namespace lora::cli {
namespace suggest_test {

TEST(EditDistance, CountsSingleEdits) {
  EXPECT_EQ(edit_distance("ctx", "ctx"), 0);
  EXPECT_EQ(edit_distance("", "ctx"), 3);
  EXPECT_EQ(edit_distance("ctx", ""), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
}

TEST(EditDistance, SwapOfNeighboursIsOneEdit) {
  EXPECT_EQ(edit_distance("--bacth", "--batch"), 1);
}

TEST(Nearest, FindsTheLeastDistance) {
  EXPECT_EQ(nearest("--lora-rank", {"--ctx", "--lora-r", "--lora-out"}), "--lora-r");
  EXPECT_EQ(nearest("x", {}), "");
  EXPECT_EQ(nearest("--lora_out", {"--lora-init", "--lora-out"}), "--lora-out");
}

TEST(Nearest, FarOnesAreNoGuess) {
  EXPECT_EQ(nearest("serve", {"eval", "bench", "generate"}), "");
  EXPECT_EQ(nearest("--lr", {"--ctx", "--temp", "-t"}), "");
}

TEST(Nearest, OneLetterIsNearNoOther) {
  EXPECT_EQ(nearest("--r", {"-m", "-c", "--lora-r"}), "--lora-r");
  EXPECT_EQ(nearest("--x", {"-m", "-c", "--lora-r"}), "");
  EXPECT_EQ(nearest("--m", {"--lora-m", "-m"}), "-m");
}

TEST(Nearest, WhatIsTooLongForAWordIsNotCompared) {
  const std::vector<std::string> known(5000, "--lora-out");
  const Clock::time_point start = Clock::now();
  EXPECT_EQ(nearest(std::string(1 << 20, 'a'), known), "");
  EXPECT_LT(seconds_since(start), 5);
}

TEST(Nearest, AWordThatIsCutShortIsTheShortestLongOne) {
  EXPECT_EQ(nearest("--sample", {"--sample-start", "--sampler-of-long-name", "--ctx"}), "--sample-start");
}

}  // namespace suggest_test
}  // namespace lora::cli
