#include "base/leftover.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <utility>

namespace lora {
namespace {

constexpr std::initializer_list<int> kSignals = {SIGINT, SIGTERM, SIGHUP};

// Whoever takes a path out of its slot owns it; a handler, which may not free it, leaves it to the end of the
// process. What finds no slot is swept by the next run, as after a SIGKILL.
std::array<std::atomic<char*>, 1024> slots;

void on_signal(int number) {
  remove_leftovers();
  raise(number);  // which is handled by default now
}

}  // namespace

Leftover::Leftover(const std::string& path) {
  char* copy = ::strdup(path.c_str());
  for (size_t i = 0; copy != nullptr && i < slots.size(); ++i) {
    char* none = nullptr;
    if (!slots[i].compare_exchange_strong(none, copy)) continue;
    path_ = copy;
    slot_ = int(i);
    return;
  }
  std::free(copy);
}

Leftover::~Leftover() {
  char* mine = path_;
  if (slot_ >= 0 && slots[size_t(slot_)].compare_exchange_strong(mine, nullptr)) std::free(path_);
}

Leftover::Leftover(Leftover&& other) noexcept
    : path_(std::exchange(other.path_, nullptr)), slot_(std::exchange(other.slot_, -1)) {}

Leftover& Leftover::operator=(Leftover&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(slot_, other.slot_);
  return *this;
}

void remove_leftovers() {
  const int saved_errno = errno;
  for (auto slot = slots.rbegin(); slot != slots.rend(); ++slot) {  // files before the folder they lie in
    const char* path = slot->exchange(nullptr);
    if (path != nullptr && ::unlink(path) != 0) ::rmdir(path);
  }
  errno = saved_errno;
}

void remove_leftovers_on_signals() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESETHAND | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  for (int number : kSignals) {
    struct sigaction inherited = {};
    sigaction(number, nullptr, &inherited);
    if (inherited.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);
  }
}

SignalsWait::SignalsWait() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int number : kSignals) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, &before_);
}

SignalsWait::~SignalsWait() {
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace lora
