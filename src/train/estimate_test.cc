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

}  // namespace estimate_test
}  // namespace lora
