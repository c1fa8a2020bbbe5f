#include "base/signals.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <initializer_list>

namespace lora {
namespace {

std::atomic<int> received{0};
std::atomic<const char*> notice{""};

void on_signal(int number) {
  if (received.load() != 0 && number == SIGINT) _exit(128 + SIGINT);
  int none = 0;
  if (!received.compare_exchange_strong(none, number)) return;
  const int saved_errno = errno;
  const char* text = notice.load();
  [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, text, std::strlen(text));
  errno = saved_errno;
}

}  // namespace

void catch_stop_signals(const char* text) {
  notice = text;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
  // Whoever read the messages may be gone; the work goes on, and a write says EPIPE.
  signal(SIGPIPE, SIG_IGN);
}

int stop_signal() {
  return received.load();
}

}  // namespace lora
