#include "base/terminal.h"

#include <fcntl.h>
#include <io.h>

#include <cstdlib>
#include <string>

#include "base/windows/wide.h"

namespace lora {
namespace {

// The terminals of MSYS2 and Cygwin are pipes, "\msys-1234567890abcdef-pty0-to-master".
bool is_named_terminal(HANDLE pipe) {
  if (GetFileType(pipe) != FILE_TYPE_PIPE) return false;
  alignas(8) std::byte memory[sizeof(FILE_NAME_INFO) + MAX_PATH * sizeof(wchar_t)];
  auto* const info = reinterpret_cast<FILE_NAME_INFO*>(memory);
  if (!GetFileInformationByHandleEx(pipe, FileNameInfo, info, sizeof memory)) return false;
  const std::string name = narrow({info->FileName, info->FileNameLength / sizeof(wchar_t)});
  return (name.starts_with("\\msys-") || name.starts_with("\\cygwin-")) && name.find("-pty") != name.npos;
}

bool is_console(HANDLE handle) {
  DWORD mode = 0;
  return GetConsoleMode(handle, &mode) != 0;
}

// A console obeys colours and the like once it is asked to. One that cannot, before Windows 10, shows plain
// lines as a file gets them.
bool is_terminal_for_output(HANDLE handle) {
  DWORD mode = 0;
  if (!GetConsoleMode(handle, &mode)) return is_named_terminal(handle);
  const DWORD wanted = mode | ENABLE_PROCESSED_OUTPUT | ENABLE_VIRTUAL_TERMINAL_PROCESSING;
  return wanted == mode || SetConsoleMode(handle, wanted) != 0;
}

UINT code_page_before = 0;

void restore_code_page() {
  SetConsoleOutputCP(code_page_before);
}

}  // namespace

bool stdin_is_terminal() {
  const HANDLE input = GetStdHandle(STD_INPUT_HANDLE);
  return is_console(input) || is_named_terminal(input);
}

bool stdout_is_terminal() {
  return is_terminal_for_output(GetStdHandle(STD_OUTPUT_HANDLE));
}

bool stderr_is_terminal() {
  return is_terminal_for_output(GetStdHandle(STD_ERROR_HANDLE));
}

// Of two handles of one pipe nothing says so, unless they are one.
bool stderr_is_stdout() {
  const HANDLE out = GetStdHandle(STD_OUTPUT_HANDLE), err = GetStdHandle(STD_ERROR_HANDLE);
  if (out == err || (is_console(out) && is_console(err))) return true;
  BY_HANDLE_FILE_INFORMATION a = {}, b = {};
  return GetFileInformationByHandle(out, &a) && GetFileInformationByHandle(err, &b) &&
         a.dwVolumeSerialNumber == b.dwVolumeSerialNumber && a.nFileIndexHigh == b.nFileIndexHigh &&
         a.nFileIndexLow == b.nFileIndexLow;
}

// What is written goes out as it is, without "\r" before "\n", and a console takes it for UTF-8.
void open_standard_streams() {
  for (std::FILE* stream : {stdin, stdout, stderr}) {
    if (_fileno(stream) < 0) std::freopen("NUL", stream == stdin ? "rb" : "wb", stream);
    _setmode(_fileno(stream), _O_BINARY);
  }
  const bool to_console =
      is_console(GetStdHandle(STD_OUTPUT_HANDLE)) || is_console(GetStdHandle(STD_ERROR_HANDLE));
  code_page_before = GetConsoleOutputCP();
  if (!to_console || code_page_before == CP_UTF8 || !SetConsoleOutputCP(CP_UTF8)) return;
  std::atexit(restore_code_page);
}

int columns_of(std::FILE* out) {
  const int fd = _fileno(out);
  const HANDLE handle = fd < 0 ? INVALID_HANDLE_VALUE : reinterpret_cast<HANDLE>(_get_osfhandle(fd));
  if (handle == INVALID_HANDLE_VALUE || !is_terminal_for_output(handle)) return 0;
  CONSOLE_SCREEN_BUFFER_INFO info = {};
  const bool is_known = GetConsoleScreenBufferInfo(handle, &info) && info.srWindow.Right > info.srWindow.Left;
  return is_known ? info.srWindow.Right - info.srWindow.Left + 1 : 80;
}

}  // namespace lora
