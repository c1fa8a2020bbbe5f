#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace lora {
namespace schedule_test {

double cosine(double min, double turn) {
  return min + (1 - min) / 2 * (1 + std::cos(std::numbers::pi * turn));
}

TEST(Schedule, WarmsUpLinearlyAndThenDecays) {
  FinetuneOptions o;
  EXPECT_DOUBLE_EQ(schedule(1, 256, o), 0.01);
  EXPECT_DOUBLE_EQ(schedule(99, 256, o), 0.99);
  EXPECT_DOUBLE_EQ(schedule(100, 256, o), 1.0);
  EXPECT_DOUBLE_EQ(schedule(600, 256, o), cosine(0.1, 0.5));
  EXPECT_DOUBLE_EQ(schedule(1100, 256, o), 0.1);
  EXPECT_DOUBLE_EQ(schedule(5000, 256, o), 0.1);  // t is capped
}

TEST(Schedule, RestartsWithLongerCycles) {
  FinetuneOptions o;
  o.warmup = 0;
  o.cos_decay_steps = 10;
  o.cos_decay_restart = 1.5;
  o.restart = true;
  EXPECT_DOUBLE_EQ(schedule(10, 256, o), 0.1);                    // t = steps has not passed it
  EXPECT_DOUBLE_EQ(schedule(11, 256, o), cosine(0.1, 1.0 / 15));  // t = 1 of floor(10 x 1.5)
  EXPECT_DOUBLE_EQ(schedule(25, 256, o), 0.1);
  EXPECT_DOUBLE_EQ(schedule(26, 256, o), cosine(0.1, 1.0 / 22));  // floor(15 x 1.5)
  o.cos_decay_restart = 0.1;  // cycles shrink to one iteration, never to none
  EXPECT_DOUBLE_EQ(schedule(1000, 256, o), 0.1);
}

TEST(Schedule, FloorLiftsTheWholeCurve) {
  FinetuneOptions o;
  o.adam_min_alpha = 0.0002;
  EXPECT_NEAR(schedule(1, 256, o), 0.2 + 0.01 * 0.8, 1e-12);
  EXPECT_NEAR(schedule(100, 256, o), 1.0, 1e-12);
  EXPECT_NEAR(schedule(9999, 256, o), 0.2 + 0.1 * 0.8, 1e-12);
  o.adam_alpha = 0;
  EXPECT_DOUBLE_EQ(schedule(100, 256, o), 1.0);
}

TEST(Schedule, FallsInALineOrStays) {
  FinetuneOptions o;
  o.schedule = Schedule::linear;
  o.warmup = 10;
  o.cos_decay_steps = 40;
  o.cos_decay_min = 0.2;
  EXPECT_DOUBLE_EQ(schedule(5, 256, o), 0.5);
  EXPECT_DOUBLE_EQ(schedule(10, 256, o), 1);
  EXPECT_DOUBLE_EQ(schedule(20, 256, o), 0.8);
  EXPECT_DOUBLE_EQ(schedule(50, 256, o), 0.2);
  EXPECT_DOUBLE_EQ(schedule(200, 256, o), 0.2);
  o.restart = true;
  EXPECT_DOUBLE_EQ(schedule(51, 256, o), 1 - 0.8 / 44);  // t = 1 of floor(40 x 1.1)
  o.schedule = Schedule::constant;
  EXPECT_DOUBLE_EQ(schedule(5, 256, o), 0.5);
  for (const int64_t iter : {10, 51, 256}) EXPECT_DOUBLE_EQ(schedule(iter, 256, o), 1) << iter;
  o.adam_min_alpha = 0.0002;
  EXPECT_DOUBLE_EQ(schedule(5, 256, o), 0.2 + 0.5 * 0.8);  // the floor is every schedule's
}

TEST(Schedule, SharesAreOfTheRunsLength) {
  FinetuneOptions o;
  const auto steps = [&](int64_t n_iter) {
    const ScheduleSteps s = schedule_steps(o, n_iter);
    return std::pair(s.warmup, s.decay);
  };
  EXPECT_EQ(steps(10), std::pair(int64_t{100}, int64_t{1000}));  // numbers stay as they are
  o.warmup = o.cos_decay_steps = RunShare::automatic();
  EXPECT_EQ(steps(400), std::pair(int64_t{20}, int64_t{380}));
  EXPECT_EQ(steps(19), std::pair(int64_t{1}, int64_t{18}));
  EXPECT_EQ(steps(1), std::pair(int64_t{1}, int64_t{1}));
  o.warmup = RunShare::percent_of_run(10);
  EXPECT_EQ(steps(400), std::pair(int64_t{40}, int64_t{360}));
  EXPECT_EQ(steps(3), std::pair(int64_t{1}, int64_t{2}));
  o.cos_decay_steps = RunShare::percent_of_run(50);
  EXPECT_EQ(steps(400), std::pair(int64_t{40}, int64_t{200}));
  o.warmup = RunShare::percent_of_run(0);
  EXPECT_EQ(steps(400).first, 0);
  EXPECT_DOUBLE_EQ(schedule(200, 400, o), 0.1);
  EXPECT_GT(schedule(200, 800, o), 0.5);
}

}  // namespace schedule_test
}  // namespace lora
