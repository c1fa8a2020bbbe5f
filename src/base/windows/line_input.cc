#include "base/line_input.h"

#include <algorithm>

#include "base/error.h"
#include "base/windows/wide.h"

namespace lora {
namespace {

constexpr DWORD kPauseMs = 200;

[[noreturn]] void fail_to_read() {
  fail("standard input: cannot be read");
}

// A line that was typed, whatever the console's code page. Ctrl-C ends the call with nothing.
bool read_console(HANDLE console, std::string& pending) {
  if (WaitForSingleObject(console, kPauseMs) != WAIT_OBJECT_0) return true;
  wchar_t text[4096];
  DWORD n = 0;
  if (!ReadConsoleW(console, text, 4096, &n, nullptr)) {
    if (GetLastError() == ERROR_OPERATION_ABORTED) return true;
    fail_to_read();
  }
  constexpr wchar_t kCtrlZ = 0x1a;
  if (n > 0 && text[0] == kCtrlZ) return false;
  pending += narrow({text, n});
  return true;
}

// Whether a pipe has something, or an end, within the pause.
bool has_come(HANDLE pipe) {
  constexpr DWORD kLookMs = 10;
  for (DWORD waited = 0; waited < kPauseMs; waited += kLookMs) {
    DWORD n = 0;
    if (!PeekNamedPipe(pipe, nullptr, 0, nullptr, &n, nullptr) || n > 0) return true;
    Sleep(kLookMs);
  }
  return false;
}

}  // namespace

bool read_input(std::string& pending) {
  const HANDLE input = GetStdHandle(STD_INPUT_HANDLE);
  DWORD mode = 0;
  if (GetConsoleMode(input, &mode)) return read_console(input, pending);
  if (GetFileType(input) == FILE_TYPE_PIPE && !has_come(input)) return true;
  char buffer[4096];
  DWORD n = 0;
  if (!ReadFile(input, buffer, sizeof buffer, &n, nullptr)) {
    if (const DWORD why = GetLastError(); why == ERROR_BROKEN_PIPE || why == ERROR_HANDLE_EOF) return false;
    fail_to_read();
  }
  pending.append(buffer, n);
  return n > 0;
}

}  // namespace lora
