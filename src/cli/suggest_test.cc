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
}

}  // namespace
}  // namespace lora::cli
