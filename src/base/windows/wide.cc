#include "base/windows/wide.h"

#include <cstdint>

#include "base/utf8.h"

namespace lora {
namespace {

// The half of a pair that three bytes at `at` stand for; 0: none.
uint32_t half_at(std::string_view text, size_t at) {
  if (text.size() - at < 3) return 0;
  const auto byte = [&](size_t i) { return uint32_t(uint8_t(text[at + i])); };
  const bool is_half = byte(0) == 0xed && byte(1) >= 0xa0 && byte(1) <= 0xbf && (byte(2) & 0xc0) == 0x80;
  return is_half ? 0xd000 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f) : 0;
}

bool is_half(uint32_t unit, uint32_t begin) {
  return unit >= begin && unit < begin + 0x400;
}

constexpr uint32_t kHigh = 0xd800, kLow = 0xdc00;

constexpr DWORD kDiskQuotaExceeded = 1295;  // not in every winerror.h

struct Reason {
  DWORD code;
  std::errc means;
  const char* text = nullptr;  // where another is clearer
};
// In the words that other systems have for them.
constexpr Reason kReasons[] = {
    {ERROR_FILE_NOT_FOUND, std::errc::no_such_file_or_directory},
    {ERROR_PATH_NOT_FOUND, std::errc::no_such_file_or_directory},
    {ERROR_INVALID_DRIVE, std::errc::no_such_file_or_directory},
    {ERROR_BAD_NETPATH, std::errc::no_such_file_or_directory, "the network path is not found"},
    {ERROR_BAD_NET_NAME, std::errc::no_such_file_or_directory, "the network path is not found"},
    {ERROR_NOT_READY, std::errc::no_such_device, "the drive is not ready"},
    {ERROR_INVALID_NAME, std::errc::invalid_argument, "Windows allows no such name"},
    {ERROR_BAD_PATHNAME, std::errc::invalid_argument, "Windows allows no such name"},
    {ERROR_BAD_DEVICE, std::errc::invalid_argument, "Windows keeps this name for a device"},
    {ERROR_FILENAME_EXCED_RANGE, std::errc::filename_too_long},
    {ERROR_ACCESS_DENIED, std::errc::permission_denied},
    {ERROR_PRIVILEGE_NOT_HELD, std::errc::operation_not_permitted},
    {ERROR_DELETE_PENDING, std::errc::permission_denied, "it is just being removed"},
    {ERROR_SHARING_VIOLATION, std::errc::device_or_resource_busy, "another program has it open"},
    {ERROR_USER_MAPPED_FILE, std::errc::device_or_resource_busy, "another program has it open"},
    {ERROR_LOCK_VIOLATION, std::errc::operation_would_block, "another program has locked it"},
    {ERROR_IO_PENDING, std::errc::operation_would_block, "another program has locked it"},
    {ERROR_FILE_EXISTS, std::errc::file_exists},
    {ERROR_ALREADY_EXISTS, std::errc::file_exists},
    {ERROR_DIR_NOT_EMPTY, std::errc::directory_not_empty},
    {ERROR_DIRECTORY, std::errc::not_a_directory},
    {ERROR_DISK_FULL, std::errc::no_space_on_device},
    {ERROR_HANDLE_DISK_FULL, std::errc::no_space_on_device},
    {kDiskQuotaExceeded, std::errc::no_space_on_device, "the disk quota is used up"},
    {ERROR_FILE_TOO_LARGE, std::errc::file_too_large},
    {ERROR_WRITE_PROTECT, std::errc::read_only_file_system},
    {ERROR_NOT_ENOUGH_MEMORY, std::errc::not_enough_memory},
    {ERROR_OUTOFMEMORY, std::errc::not_enough_memory},
    {ERROR_COMMITMENT_LIMIT, std::errc::not_enough_memory},
    {ERROR_NO_SYSTEM_RESOURCES, std::errc::not_enough_memory},
    {ERROR_TOO_MANY_OPEN_FILES, std::errc::too_many_files_open},
    {ERROR_NOACCESS, std::errc::bad_address},
    {ERROR_SWAPERROR, std::errc::bad_address},
    {ERROR_BROKEN_PIPE, std::errc::broken_pipe},
    {ERROR_NO_DATA, std::errc::broken_pipe},
    {ERROR_CANT_RESOLVE_FILENAME, std::errc::too_many_symbolic_link_levels, "too many links"},
    {ERROR_NOT_SAME_DEVICE, std::errc::cross_device_link},
    {ERROR_INVALID_FUNCTION, std::errc::not_supported, "the file system cannot do that"},
    {ERROR_NOT_SUPPORTED, std::errc::not_supported, "the file system cannot do that"},
    {ERROR_INVALID_HANDLE, std::errc::bad_file_descriptor},
    {ERROR_CRC, std::errc::io_error},
    {ERROR_IO_DEVICE, std::errc::io_error},
};

const Reason* find_reason(int code) {
  for (const Reason& reason : kReasons) {
    if (reason.code == DWORD(code)) return &reason;
  }
  return nullptr;
}

class WindowsErrors final : public std::error_category {
 public:
  const char* name() const noexcept override { return "windows"; }
  std::error_condition default_error_condition(int code) const noexcept override {
    const Reason* const reason = find_reason(code);
    return reason ? std::make_error_condition(reason->means) : std::error_condition(code, *this);
  }
  std::string message(int code) const override {
    if (const Reason* const reason = find_reason(code))
      return reason->text ? reason->text : std::generic_category().message(int(reason->means));
    wchar_t text[512];
    const DWORD n = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, nullptr,
                                   DWORD(code), 0, text, 512, nullptr);
    std::string found = narrow({text, n});
    while (!found.empty() && (found.back() == '\n' || found.back() == '\r' || found.back() == '.'))
      found.pop_back();
    return found.empty() ? "Windows error " + std::to_string(code) : found;
  }
};

}  // namespace

std::wstring wide(std::string_view text) {
  std::wstring result;
  result.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    if (const uint32_t half = step.code >= kStrayByte ? half_at(text, at) : 0) {
      result += wchar_t(half);
      at += 3;
      continue;
    }
    const uint32_t code = step.code >= kStrayByte ? 0xfffd : step.code;
    if (code < 0x10000) {
      result += wchar_t(code);
    } else {
      result += wchar_t(kHigh + ((code - 0x10000) >> 10));
      result += wchar_t(kLow + (code & 0x3ff));
    }
    at += step.size;
  }
  return result;
}

std::string narrow(std::wstring_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t at = 0; at < text.size(); ++at) {
    uint32_t code = uint16_t(text[at]);
    if (is_half(code, kHigh) && at + 1 < text.size() && is_half(uint16_t(text[at + 1]), kLow)) {
      code = 0x10000 + ((code - kHigh) << 10) + (uint16_t(text[++at]) - kLow);
    }
    append_utf8(result, code);
  }
  return result;
}

std::wstring wide_path(const std::string& path) {
  constexpr size_t kLongest = 247;  // of a folder; a file's may be twelve more
  std::wstring text = wide(path);
  if (text.empty() || text.starts_with(L"\\\\?\\") || text.starts_with(L"\\\\.\\")) return text;
  std::wstring whole(text.size() + MAX_PATH, L'\0');
  DWORD n = GetFullPathNameW(text.c_str(), DWORD(whole.size()), whole.data(), nullptr);
  if (n > whole.size()) {
    whole.resize(n);
    n = GetFullPathNameW(text.c_str(), DWORD(whole.size()), whole.data(), nullptr);
  }
  if (n <= kLongest || n > whole.size()) return text;
  whole.resize(n);
  if (whole.starts_with(L"\\\\.\\") || whole.starts_with(L"\\\\?\\")) return text;
  return whole.starts_with(L"\\\\") ? L"\\\\?\\UNC" + whole.substr(1) : L"\\\\?\\" + whole;
}

std::string narrow_path(std::wstring_view path) {
  if (path.starts_with(L"\\\\?\\UNC\\")) return "\\" + narrow(path.substr(7));
  if (path.starts_with(L"\\\\?\\")) path.remove_prefix(4);
  return narrow(path);
}

std::error_code windows_error(DWORD code) {
  static const WindowsErrors errors;
  return {int(code), errors};
}

}  // namespace lora
