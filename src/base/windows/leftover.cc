#include "base/leftover.h"

#include <csignal>
#include <cstdlib>
#include <shared_mutex>

#include "base/system_file.h"
#include "base/windows/windows.h"

namespace lora {
namespace {

// Shared by what must not be cut in two, alone had by what ends the process, which keeps it.
std::shared_mutex ends_process;
thread_local int n_waits = 0;

BOOL WINAPI on_event(DWORD) {
  ends_process.lock();
  remove_leftovers();
  std::_Exit(128 + SIGINT);
}

}  // namespace

void remove_leftover(const char* path) {
  if (remove_name(path)) remove_folder(path);
}

void remove_leftovers_on_signals() {
  SetConsoleCtrlHandler(on_event, TRUE);
}

SignalsWait::SignalsWait() {
  before_[0] = std::byte(n_waits++ == 0);
  if (before_[0] != std::byte{}) ends_process.lock_shared();
}

SignalsWait::~SignalsWait() {
  --n_waits;
  if (before_[0] != std::byte{}) ends_process.unlock_shared();
}

}  // namespace lora
