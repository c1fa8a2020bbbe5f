#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace lora {
namespace {

double cosine(double min, double turn) {
  return min + (1 - min) / 2 * (1 + std::cos(std::numbers::pi * turn));
}

TEST(Schedule, WarmsUpLinearlyAndThenDecays) {
  FinetuneOptions o;
  EXPECT_DOUBLE_EQ(schedule(1, o), 0.01);
  EXPECT_DOUBLE_EQ(schedule(99, o), 0.99);
  EXPECT_DOUBLE_EQ(schedule(100, o), 1.0);
  EXPECT_DOUBLE_EQ(schedule(600, o), cosine(0.1, 0.5));
  EXPECT_DOUBLE_EQ(schedule(1100, o), 0.1);
  EXPECT_DOUBLE_EQ(schedule(5000, o), 0.1);  // t is capped
}

TEST(Schedule, RestartsWithLongerCycles) {
  FinetuneOptions o;
  o.warmup = 0;
  o.cos_decay_steps = 10;
  o.cos_decay_restart = 1.5;
  o.restart = true;
  EXPECT_DOUBLE_EQ(schedule(10, o), 0.1);                    // t = steps has not passed it
  EXPECT_DOUBLE_EQ(schedule(11, o), cosine(0.1, 1.0 / 15));  // t = 1 of floor(10 x 1.5)
  EXPECT_DOUBLE_EQ(schedule(25, o), 0.1);
  EXPECT_DOUBLE_EQ(schedule(26, o), cosine(0.1, 1.0 / 22));  // floor(15 x 1.5)
  o.cos_decay_restart = 0.1;                                 // cycles shrink to one iteration, never to none
  EXPECT_DOUBLE_EQ(schedule(1000, o), 0.1);
}

TEST(Schedule, FloorLiftsTheWholeCurve) {
  FinetuneOptions o;
  o.adam_min_alpha = 0.0002;
  EXPECT_NEAR(schedule(1, o), 0.2 + 0.01 * 0.8, 1e-12);
  EXPECT_NEAR(schedule(100, o), 1.0, 1e-12);
  EXPECT_NEAR(schedule(9999, o), 0.2 + 0.1 * 0.8, 1e-12);
  o.adam_alpha = 0;
  EXPECT_DOUBLE_EQ(schedule(100, o), 1.0);
}

}  // namespace
}  // namespace lora
