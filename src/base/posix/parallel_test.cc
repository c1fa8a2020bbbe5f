#include "base/parallel.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <set>
#include <string>
#include <thread>

#include "base/timing.h"

namespace lora {
namespace parallel_test {

using namespace std::chrono_literals;

std::atomic<int> n_held = 0;
std::atomic<bool> is_held = false;

void hold(int) {
  ++n_held;
  while (is_held) std::this_thread::sleep_for(1ms);
  --n_held;
}

std::set<int> threads_here() {
  std::set<int> ids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    ids.insert(std::stoi(entry.path().filename()));
  return ids;
}

// As it is where another program has the processor: the workers' threads are there, and do not run.
TEST(ThreadPool, ALoopDoesNotWaitForWorkersThatDoNotCome) {
  const std::set<int> before = threads_here();
  ThreadPool pool(3);
  std::set<int> workers = threads_here();
  for (const int id : before) workers.erase(id);
  ASSERT_EQ(workers.size(), 2u);
  is_held = true;
  const auto old = signal(SIGUSR1, hold);
  for (const int id : workers) ASSERT_EQ(syscall(SYS_tgkill, getpid(), id, SIGUSR1), 0);
  while (n_held < 2) std::this_thread::sleep_for(1ms);

  std::atomic<int> sum = 0;
  auto loops = std::async(std::launch::async, [&] {
    for (int loop = 0; loop < 1000; ++loop) pool.run(5, [&](int64_t i, int) { sum += int(i); });
  });
  const bool ended = loops.wait_for(20s) == std::future_status::ready;
  is_held = false;
  loops.get();
  while (n_held > 0) std::this_thread::sleep_for(1ms);
  signal(SIGUSR1, old);
  EXPECT_TRUE(ended);
  EXPECT_EQ(sum, 10000);
  // They come again, and too late for the loops that are over.
  for (int loop = 0; loop < 1000; ++loop) pool.run(5, [&](int64_t i, int) { sum += int(i); });
  EXPECT_EQ(sum, 20000);
}

// A worker that is held up in the middle of each of its tasks. The sleep is long enough not to be a
// scheduler's.
TEST(ThreadPool, AWorkerThatHoldsLoopsUpRests) {
  ThreadPool pool(2);
  std::atomic<int> n_held_up = 0;
  std::atomic<bool> is_busy = true;
  const auto loop = [&] {
    pool.run(16, [&](int64_t, int worker) {
      for (const auto start = Clock::now(); seconds_since(start) < 20e-6;) {
      }
      if (worker == 0) return;
      ++n_held_up;
      if (is_busy) std::this_thread::sleep_for(5ms);
    });
  };
  const auto loop_for = [&](double time) {
    n_held_up = 0;
    for (const auto start = Clock::now(); seconds_since(start) < time;) loop();
    return n_held_up.load();
  };
  loop_for(0.5);
  EXPECT_LT(loop_for(1.5), 60) << "300 where it does not rest";
  EXPECT_EQ(pool.size(), 2);
  // All come where all are needed, and the worker comes back by itself once it is not held up.
  std::atomic<int> n_there = 0;
  pool.run_together([&](int64_t, int) {
    ++n_there;
    while (n_there < 2) std::this_thread::yield();
  });
  is_busy = false;
  const auto start = Clock::now();
  for (n_held_up = 0; n_held_up < 1000 && seconds_since(start) < 20;) loop();
  EXPECT_GE(n_held_up, 1000);
}

TEST(ThreadPool, ManyShortLoopsRunEachTaskOnce) {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> runs(7);
  for (int loop = 0; loop < 2000; ++loop) {
    const int64_t n = 1 + loop % 7;
    pool.run(n, [&](int64_t i, int) { ++runs[size_t(i)]; });
  }
  int64_t expected = 2000;
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(runs[size_t(i)], expected) << i;
    expected -= 2000 / 7 + (i < 2000 % 7);
  }
}

TEST(ThreadPool, CountsTheLoopsThatAreShared) {
  ThreadPool pool(2);
  Loops loops;
  {
    const LoopCount count(pool, loops);
    for (const int64_t n : {0, 1, 2, 5}) pool.run(n, [](int64_t, int) { std::this_thread::sleep_for(1ms); });
  }
  EXPECT_EQ(loops.n, 2);
  EXPECT_GE(loops.seconds, 0.004);  // two threads, seven tasks
  pool.run(2, [](int64_t, int) {});
  EXPECT_EQ(loops.n, 2);
}

}  // namespace parallel_test
}  // namespace lora
