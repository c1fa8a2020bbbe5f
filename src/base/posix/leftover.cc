#include "base/leftover.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>

namespace lora {
namespace {

constexpr std::initializer_list<int> kSignals = {SIGINT, SIGTERM, SIGHUP};

void remove_on_signal(int number) {
  remove_leftovers();
  raise(number);  // which is handled by default now
}

}  // namespace

void remove_leftover(const char* path) {
  const int saved_errno = errno;
  if (::unlink(path) != 0) ::rmdir(path);
  errno = saved_errno;
}

void remove_leftovers_on_signals() {
  struct sigaction action = {};
  action.sa_handler = remove_on_signal;
  action.sa_flags = SA_RESETHAND | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  for (int number : kSignals) {
    struct sigaction inherited = {};
    sigaction(number, nullptr, &inherited);
    if (inherited.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);
  }
}

SignalsWait::SignalsWait() {
  sigset_t signals, before;
  sigemptyset(&signals);
  for (int number : kSignals) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, &before);
  static_assert(sizeof before <= sizeof before_);
  std::memcpy(before_, &before, sizeof before);
}

SignalsWait::~SignalsWait() {
  sigset_t before;
  std::memcpy(&before, before_, sizeof before);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace lora
