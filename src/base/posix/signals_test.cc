#include "base/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <initializer_list>

namespace lora {
namespace signals_test {

// In a process of its own: the signals one after the other, milliseconds apart. Its exit status is the first
// signal that was seen.
[[noreturn]] void receive(std::initializer_list<int> signals, int pause_ms, int ignored = 0) {
  if (ignored) signal(ignored, SIG_IGN);
  catch_stop_signals("told\n");
  for (int number : signals) {
    raise(number);
    usleep(useconds_t(pause_ms) * 1000);
  }
  _exit(stop_signal());
}

TEST(Signals, TheFirstIsNotedAndTold) {
  EXPECT_EXIT(receive({SIGINT}, 0), testing::ExitedWithCode(SIGINT), "^told\n$");
  EXPECT_EXIT(receive({SIGTERM, SIGHUP, SIGTERM}, 0), testing::ExitedWithCode(SIGTERM), "^told\n$");
}

TEST(Signals, ASecondInterruptEndsTheProcess) {
  EXPECT_EXIT(receive({SIGINT, SIGINT}, 150), testing::ExitedWithCode(130), "^told\n$");
  EXPECT_EXIT(receive({SIGINT, SIGTERM, SIGINT}, 80), testing::ExitedWithCode(130), "");
}

// A terminal and a program that passes its signals on both send it.
TEST(Signals, AnInterruptThatArrivesTwiceIsOne) {
  EXPECT_EXIT(receive({SIGINT, SIGINT}, 0), testing::ExitedWithCode(SIGINT), "^told\n$");
}

TEST(Signals, AfterAnotherSignalAnInterruptIsTheFirst) {
  EXPECT_EXIT(receive({SIGTERM, SIGINT}, 150), testing::ExitedWithCode(SIGTERM), "^told\n$");
  EXPECT_EXIT(receive({SIGHUP, SIGINT}, 150), testing::ExitedWithCode(SIGHUP), "^told\n$");
  EXPECT_EXIT(receive({SIGTERM, SIGINT, SIGINT}, 150), testing::ExitedWithCode(130), "");
}

TEST(Signals, WhatIsIgnoredStaysIgnored) {
  for (int number : {SIGINT, SIGTERM, SIGHUP}) {
    EXPECT_EXIT(receive({number, number, number}, 0, number), testing::ExitedWithCode(0), "^$");
  }
}

}  // namespace signals_test
}  // namespace lora
