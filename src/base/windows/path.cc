#include "base/path.h"

#include "base/windows/wide.h"

namespace lora {
namespace {

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Behind the next part of a path and its separator.
size_t behind_part(std::string_view path, size_t at) {
  while (at < path.size() && !is_separator(path[at])) ++at;
  return at < path.size() ? at + 1 : at;
}

std::string final_path(HANDLE file) {
  std::wstring path(MAX_PATH, L'\0');
  DWORD n = GetFinalPathNameByHandleW(file, path.data(), DWORD(path.size()), 0);
  if (n > path.size()) {
    path.resize(n);
    n = GetFinalPathNameByHandleW(file, path.data(), DWORD(path.size()), 0);
  }
  return n > path.size() ? "" : narrow_path({path.data(), n});
}

}  // namespace

bool is_separator(char c) {
  return c == '\\' || c == '/';
}

size_t root_size(std::string_view path) {
  const auto separator = [&](size_t at) { return at < path.size() && is_separator(path[at]); };
  if (separator(0) && separator(1)) {
    const bool is_device = path.size() > 3 && (path[2] == '?' || path[2] == '.') && separator(3);
    if (is_device && path.substr(4, 3) != "UNC") return behind_part(path, 4);
    return behind_part(path, behind_part(path, is_device ? behind_part(path, 4) : 2));  // server, share
  }
  if (path.size() > 1 && is_letter(path[0]) && path[1] == ':') return separator(2) ? 3 : 2;
  return separator(0) ? 1 : 0;
}

std::string absolute_path(const std::string& path) {
  const std::wstring text = wide(path);
  std::wstring whole(text.size() + MAX_PATH, L'\0');
  DWORD n = GetFullPathNameW(text.c_str(), DWORD(whole.size()), whole.data(), nullptr);
  if (n > whole.size()) {
    whole.resize(n);
    n = GetFullPathNameW(text.c_str(), DWORD(whole.size()), whole.data(), nullptr);
  }
  return n == 0 || n > whole.size() ? path : narrow({whole.data(), n});
}

std::string real_path(const std::string& path) {
  const std::string whole = absolute_path(path);
  const Handle file(CreateFileW(wide_path(whole).c_str(), FILE_READ_ATTRIBUTES,
                                FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
                                OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, nullptr));
  if (file) {
    const std::string found = final_path(file.get());
    return found.empty() ? whole : found;
  }
  if (whole.size() <= root_size(whole)) return whole;
  return path_in(real_path(folder_of(whole)), split_path(whole).second);
}

std::string fold_case(std::string text) {
  for (char& c : text) c = c == '/' ? '\\' : c;
  const std::wstring from = wide(text);
  std::wstring to(from.size(), L'\0');
  const int n = LCMapStringEx(LOCALE_NAME_INVARIANT, LCMAP_UPPERCASE, from.data(), int(from.size()),
                              to.data(), int(to.size()), nullptr, nullptr, 0);
  return n == int(from.size()) ? narrow(to) : text;
}

}  // namespace lora
