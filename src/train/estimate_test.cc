#include "train/estimate.h"

#include <gtest/gtest.h>

#include <vector>

namespace lora {
namespace estimate_test {

// (S - 1) / (M + S - 1) of the time each of S equal stages waits; of others the slowest one decides.
TEST(Pipeline, TakesAsManyTurnsAsBatchesAndStagesBelow) {
  EXPECT_DOUBLE_EQ(pipeline_seconds(std::vector{2.0}, 5), 10);
  EXPECT_DOUBLE_EQ(pipeline_seconds(std::vector{2.0, 2.0, 2.0}, 5), 2 * (5 + 3 - 1));
  EXPECT_DOUBLE_EQ(pipeline_seconds(std::vector{1.0, 3.0}, 4), 1 + 4 * 3);
}

TEST(Estimate, TheLargestStageIsTheOneThatTakesMostWeightsAndAll) {
  const StageMemory a = {{0, 2}, 10, 5}, b = {{2, 2}, 8, 8}, c = {{4, 2}, 16, 0};
  EXPECT_EQ(largest_stage(std::vector{a}), 0u);
  EXPECT_EQ(largest_stage(std::vector{a, b, c}), 1u);
  EXPECT_EQ(largest_stage(std::vector{a, a}), 0u);
}

}  // namespace estimate_test
}  // namespace lora
