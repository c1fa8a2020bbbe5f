// Windows' own texts are UTF-16, the program's UTF-8; and what its errors are called.
#pragma once

#include <string>
#include <string_view>
#include <system_error>

#include "base/windows/windows.h"

namespace lora {

// One half of a surrogate pair, which a file's name may hold alone, is written as a character would be, in
// three bytes; so names of every kind come back as they were. Bytes that are neither become U+FFFD.
std::wstring wide(std::string_view text);
std::string narrow(std::wstring_view text);

// As calls on files want it: whole and behind \\?\ where it is too long for them otherwise.
std::wstring wide_path(const std::string& path);
// The path that a call gave, without \\?\.
std::string narrow_path(std::wstring_view path);

// What GetLastError() says, or of its codes another.
std::error_code windows_error(DWORD code = GetLastError());
// Of the call before, which says FALSE if it failed.
inline std::error_code error_of(BOOL result) {
  return result ? std::error_code() : windows_error();
}

// Closed at its end.
class Handle {
 public:
  explicit Handle(HANDLE handle = INVALID_HANDLE_VALUE) : handle_(handle) {}
  ~Handle() {
    if (*this) CloseHandle(handle_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  explicit operator bool() const { return handle_ != INVALID_HANDLE_VALUE && handle_ != nullptr; }
  HANDLE get() const { return handle_; }

 private:
  HANDLE handle_;
};

// A function that not every Windows has; null where it is missing.
template <class F>
F* find_function(const wchar_t* library, const char* name) {
  const HMODULE module = GetModuleHandleW(library);
  void* const found = module ? reinterpret_cast<void*>(GetProcAddress(module, name)) : nullptr;
  return reinterpret_cast<F*>(found);
}

}  // namespace lora
