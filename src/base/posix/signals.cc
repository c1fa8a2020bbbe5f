#include "base/signals.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "base/leftover.h"

namespace lora {
namespace {

constexpr int64_t kOneCtrlCMs = 100;

std::atomic<int> received{0};
std::atomic<int64_t> first_interrupt_ms{-1};
std::atomic<const char*> notice{""};

int64_t now_ms() {
  timespec t = {};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t(t.tv_sec) * 1000 + t.tv_nsec / 1'000'000;
}

void on_signal(int number) {
  const int saved_errno = errno;
  if (number == SIGINT) {
    const int64_t now = now_ms();
    int64_t first = -1;
    if (!first_interrupt_ms.compare_exchange_strong(first, now) && now - first >= kOneCtrlCMs) {
      remove_leftovers();
      _exit(128 + SIGINT);
    }
  }
  int none = 0;
  if (received.compare_exchange_strong(none, number)) {
    const char* text = notice.load();
    [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, text, std::strlen(text));
  }
  errno = saved_errno;
}

}  // namespace

void catch_stop_signals(const char* text) {
  notice = text;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGTTOU);  // the notice must not stop a job in the background
  action.sa_flags = SA_RESTART;
  for (int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction inherited = {};
    sigaction(number, nullptr, &inherited);
    if (inherited.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);
  }
  // Whoever read the messages may be gone; the work goes on, and a write says EPIPE.
  signal(SIGPIPE, SIG_IGN);
}

int stop_signal() {
  return received.load();
}

void ignore_file_size_signal() {
  signal(SIGXFSZ, SIG_IGN);
}

}  // namespace lora
