#include "base/process.h"

#include "base/windows/wide.h"

// Of the C library, which has it in no header. The last two: whether "*" stands for names, and what `new`
// does where there is no memory.
extern "C" int __cdecl __wgetmainargs(int* n, wchar_t*** args, wchar_t*** environment, int expand,
                                      int* new_mode);

namespace lora {

int64_t process_id() {
  return GetCurrentProcessId();
}

// Not by CommandLineToArgvW(): its library brings user32.dll with it, and a console program that has that is
// not told when its user leaves or the machine is shut down.
std::vector<std::string> arguments(int argc, char** argv) {
  int n = 0, new_mode = 0;
  wchar_t **wide_argv = nullptr, **environment = nullptr;
  if (__wgetmainargs(&n, &wide_argv, &environment, 0, &new_mode) != 0) return {argv, argv + argc};
  std::vector<std::string> result;
  for (int i = 0; i < n; ++i) result.push_back(narrow(wide_argv[i]));
  return result;
}

// As programs take their command lines apart: backslashes count twice before a quote.
std::string shell_word(std::string_view text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./\\:=+";
  if (!text.empty() && text.find_first_not_of(kPlain) == text.npos) return std::string(text);
  std::string quoted = "\"";
  size_t n_backslashes = 0;
  for (const char c : text) {
    if (c == '"') quoted.append(n_backslashes + 1, '\\');
    n_backslashes = c == '\\' ? n_backslashes + 1 : 0;
    quoted += c;
  }
  return quoted.append(n_backslashes, '\\') + '"';
}

StaysAwake::StaysAwake() {
  SetThreadExecutionState(ES_CONTINUOUS | ES_SYSTEM_REQUIRED);
}

StaysAwake::~StaysAwake() {
  SetThreadExecutionState(ES_CONTINUOUS);
}

}  // namespace lora
