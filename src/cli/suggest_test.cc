#include "cli/suggest.h"

#include <gtest/gtest.h>

namespace lora::cli {
namespace {

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

TEST(Nearest, AWordThatIsCutShortIsTheShortestLongOne) {
  EXPECT_EQ(nearest("--sample", {"--sample-start", "--sampler-of-long-name", "--ctx"}), "--sample-start");
}

}  // namespace
}  // namespace lora::cli
