#include "base/signals.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "base/leftover.h"
#include "base/windows/windows.h"

namespace lora {
namespace {

// As POSIX numbers them, where Windows' C library has none: statuses mean the same on both.
constexpr int kHangUp = 1;
constexpr uint64_t kOneCtrlCMs = 100;

std::atomic<int> received{0};
std::atomic<uint64_t> first_interrupt_ms{0};
std::atomic<const char*> notice{""};
std::atomic_flag is_said;

int number_of(DWORD event) {
  if (event == CTRL_C_EVENT || event == CTRL_BREAK_EVENT) return SIGINT;
  return event == CTRL_CLOSE_EVENT ? kHangUp : SIGTERM;  // the window; the session, the machine
}

// In a thread of its own.
BOOL WINAPI on_event(DWORD event) {
  const int number = number_of(event);
  if (number == SIGINT) {
    const uint64_t now = GetTickCount64() + 1;
    uint64_t first = 0;
    if (!first_interrupt_ms.compare_exchange_strong(first, now) && now - first >= kOneCtrlCMs) {
      remove_leftovers();
      std::_Exit(128 + SIGINT);
    }
  }
  // Said before it is obeyed: the other threads go on meanwhile, and may end the process.
  if (const char* const text = notice.load(); *text != '\0' && !is_said.test_and_set()) {
    DWORD n = 0;
    WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, DWORD(std::strlen(text)), &n, nullptr);
  }
  int none = 0;
  received.compare_exchange_strong(none, number);
  // Where the window was closed the process ends with this call, and otherwise after some seconds: they are
  // for what is to be saved, which ends the process itself.
  if (number != SIGINT) Sleep(INFINITE);
  return TRUE;
}

}  // namespace

void catch_stop_signals(const char* text) {
  notice = text;
  SetConsoleCtrlHandler(on_event, TRUE);
}

int stop_signal() {
  return received.load();
}

void ignore_file_size_signal() {}  // there is none

}  // namespace lora
