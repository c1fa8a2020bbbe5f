#include "base/system_file.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "base/path.h"
#include "base/windows/wide.h"

namespace lora {
namespace {

constexpr DWORD kShareAll = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
// Of a lock: behind all that a file holds, since what is locked cannot be read by others.
constexpr uint64_t kLockedByte = uint64_t{1} << 62;

HANDLE handle_of(intptr_t handle) {
  return reinterpret_cast<HANDLE>(handle);
}

// A name with a colon is a file's stream, of which nobody here means to speak.
bool is_stream(const std::string& path) {
  return split_path(path).second.find(':') != std::string::npos;
}

// Windows opens a device in place of a file of such a name, in every folder and whatever follows a dot.
bool is_device(const std::string& path) {
  if (path.starts_with("\\\\?\\")) return false;
  std::string name = fold_case(split_path(path).second);
  name.resize(std::min(name.find('.'), name.size()));
  while (name.ends_with(' ')) name.pop_back();
  for (const char* device : {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}) {
    if (name == device) return true;
  }
  constexpr std::string_view kNumbers[] = {"0", "1", "2", "3",      "4",      "5",     "6",
                                           "7", "8", "9", "\u00b9", "\u00b2", "\u00b3"};
  return (name.starts_with("COM") || name.starts_with("LPT")) &&
         std::ranges::find(kNumbers, std::string_view(name).substr(3)) != std::end(kNumbers);
}

// Programs that look into every new file, and those that index them, have it open for a moment.
template <class Call>
std::error_code retried(const Call& call) {
  constexpr auto kPatience = std::chrono::seconds(2);
  const auto start = std::chrono::steady_clock::now();
  for (auto pause = std::chrono::milliseconds(1);;
       pause = std::min(2 * pause, std::chrono::milliseconds(100))) {
    const std::error_code error = call();
    if (error != std::errc::permission_denied && error != std::errc::device_or_resource_busy) return error;
    if (std::chrono::steady_clock::now() - start > kPatience) return error;
    std::this_thread::sleep_for(pause);
  }
}

// Where what is denied for good, another user's file, say, is told apart and not waited for.
template <class Call>
std::error_code retried_while_held(const Call& call) {
  const std::error_code error = call();
  return error == std::errc::device_or_resource_busy ? retried(call) : error;
}

std::error_code open_file(intptr_t& handle, const std::string& path, DWORD access, DWORD share, DWORD how,
                          DWORD flags = 0, SECURITY_ATTRIBUTES* security = nullptr) {
  if (is_stream(path)) return windows_error(ERROR_INVALID_NAME);
  if (is_device(path)) return windows_error(ERROR_BAD_DEVICE);
  const std::wstring name = wide_path(path);
  return retried_while_held([&] {
    handle = reinterpret_cast<intptr_t>(
        CreateFileW(name.c_str(), access, share, security, how, flags | FILE_ATTRIBUTE_NORMAL, nullptr));
    return error_of(handle_of(handle) != INVALID_HANDLE_VALUE);
  });
}

bool is_link(HANDLE file) {
  FILE_ATTRIBUTE_TAG_INFO info = {};
  return GetFileInformationByHandleEx(file, FileAttributeTagInfo, &info, sizeof info) &&
         (info.FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) &&
         (info.ReparseTag == IO_REPARSE_TAG_SYMLINK || info.ReparseTag == IO_REPARSE_TAG_MOUNT_POINT);
}

std::error_code facts_from(HANDLE file, FileFacts& facts) {
  facts = {};
  if (GetFileType(file) != FILE_TYPE_DISK) return {};
  BY_HANDLE_FILE_INFORMATION info = {};
  if (!GetFileInformationByHandle(file, &info)) return windows_error();
  FILE_STANDARD_INFO standard = {};
  const bool is_going = GetFileInformationByHandleEx(file, FileStandardInfo, &standard, sizeof standard) &&
                        standard.DeletePending;
  const auto join = [](DWORD high, DWORD low) { return uint64_t{high} << 32 | low; };
  facts.type = is_link(file)                                        ? FileType::link
               : (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) ? FileType::folder
                                                                    : FileType::regular;
  facts.bytes = join(info.nFileSizeHigh, info.nFileSizeLow);
  facts.number = {info.dwVolumeSerialNumber, join(info.nFileIndexHigh, info.nFileIndexLow)};
  facts.n_names = is_going ? 0 : info.nNumberOfLinks;
  return {};
}

OVERLAPPED place(uint64_t position) {
  OVERLAPPED at = {};
  at.Offset = DWORD(position);
  at.OffsetHigh = DWORD(position >> 32);
  return at;
}

// What a call takes at once; some file systems take no more.
DWORD at_once(size_t size) {
  return DWORD(std::min(size, size_t{32} << 20));
}

// The rights to a file, if it has any of its own: else a new one gets the same from its folder.
std::vector<std::byte> own_rights(const std::string& path) {
  std::vector<std::byte> rights;
  const std::wstring name = wide_path(path);
  DWORD n = 0;
  GetFileSecurityW(name.c_str(), DACL_SECURITY_INFORMATION, nullptr, 0, &n);
  rights.resize(n);
  SECURITY_DESCRIPTOR_CONTROL control = 0;
  DWORD revision = 0;
  BOOL present = FALSE, by_default = FALSE;
  ACL* list = nullptr;
  if (n == 0 || !GetFileSecurityW(name.c_str(), DACL_SECURITY_INFORMATION, rights.data(), n, &n) ||
      !GetSecurityDescriptorControl(rights.data(), &control, &revision) ||
      !GetSecurityDescriptorDacl(rights.data(), &present, &list, &by_default) || !present || !list)
    return {};
  bool is_own = (control & SE_DACL_PROTECTED) != 0;
  for (DWORD i = 0; i < list->AceCount && !is_own; ++i) {
    void* entry = nullptr;
    is_own = GetAce(list, i, &entry) && !(static_cast<ACE_HEADER*>(entry)->AceFlags & INHERITED_ACE);
  }
  if (!is_own) rights.clear();
  return rights;
}

// Also over a file that is open, where the system can do that.
std::error_code rename_over_open(const std::wstring& from, const std::wstring& to) {
  struct Rename {
    DWORD flags;
    HANDLE folder;
    DWORD bytes;
    wchar_t name[1];
  };
  constexpr auto kRenameInfoEx = FILE_INFO_BY_HANDLE_CLASS(22);
  constexpr DWORD kReplace = 1, kPosix = 2;
  const Handle file(CreateFileW(from.c_str(), DELETE | SYNCHRONIZE, kShareAll, nullptr, OPEN_EXISTING,
                                FILE_FLAG_OPEN_REPARSE_POINT, nullptr));
  if (!file) return windows_error();
  std::vector<std::byte> memory(sizeof(Rename) + to.size() * sizeof(wchar_t));
  auto* const rename = reinterpret_cast<Rename*>(memory.data());
  rename->flags = kReplace | kPosix;
  rename->bytes = DWORD(to.size() * sizeof(wchar_t));
  std::copy(to.begin(), to.end(), rename->name);
  return error_of(SetFileInformationByHandle(file.get(), kRenameInfoEx, rename, DWORD(memory.size())));
}

// The whole path of a name that need not be there, as rename_over_open() has to be told it.
std::wstring whole_path(const std::string& path) {
  return wide_path(absolute_path(path));
}

}  // namespace

std::error_code facts_of(const std::string& path, Links links, FileFacts& facts) {
  intptr_t handle;
  const DWORD itself = links == Links::themselves ? FILE_FLAG_OPEN_REPARSE_POINT : 0;
  if (const auto error = open_file(handle, path, FILE_READ_ATTRIBUTES, kShareAll, OPEN_EXISTING,
                                   FILE_FLAG_BACKUP_SEMANTICS | itself))
    return error;
  const Handle file(handle_of(handle));
  return facts_from(file.get(), facts);
}

// Or of the group that what administrators make belongs to. Where files have no owner, everybody's.
bool is_own(const std::string& path) {
  PSID owner = nullptr;
  PSECURITY_DESCRIPTOR descriptor = nullptr;
  if (GetNamedSecurityInfoW(wide_path(path).c_str(), SE_FILE_OBJECT, OWNER_SECURITY_INFORMATION, &owner,
                            nullptr, nullptr, nullptr, &descriptor) != ERROR_SUCCESS)
    return true;
  bool found = owner == nullptr;
  HANDLE opened = nullptr;
  if (OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &opened)) {
    const Handle token(opened);
    for (const auto kind : {TokenUser, TokenOwner}) {
      alignas(8) std::byte memory[256];
      DWORD n = 0;
      if (!GetTokenInformation(token.get(), kind, memory, sizeof memory, &n)) continue;
      // Both structures begin with the pointer.
      found = found || EqualSid(owner, *reinterpret_cast<PSID*>(memory));
    }
  }
  LocalFree(descriptor);
  return found;
}

SystemFile::~SystemFile() {
  if (is_open()) CloseHandle(handle_of(handle_));
}

std::error_code SystemFile::open(const std::string& path) {
  return open_file(handle_, path, GENERIC_READ, kShareAll, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS);
}

std::error_code SystemFile::open_uncached(const std::string& path) {
  return open_file(handle_, path, GENERIC_READ, kShareAll, OPEN_EXISTING, FILE_FLAG_NO_BUFFERING);
}

std::error_code SystemFile::create(const std::string& path, const std::string& replaced) {
  std::vector<std::byte> rights = replaced.empty() ? std::vector<std::byte>() : own_rights(replaced);
  SECURITY_ATTRIBUTES security = {sizeof security, rights.data(), FALSE};
  const auto create_with = [&](SECURITY_ATTRIBUTES* given) {
    return open_file(handle_, path, GENERIC_WRITE | DELETE, FILE_SHARE_READ | FILE_SHARE_DELETE, CREATE_NEW,
                     0, given);
  };
  return create_with(rights.empty() ? nullptr : &security);
}

std::error_code SystemFile::open_or_create(const std::string& path) {
  return open_file(handle_, path, GENERIC_READ | GENERIC_WRITE, kShareAll, OPEN_ALWAYS,
                   FILE_FLAG_OPEN_REPARSE_POINT);
}

std::error_code SystemFile::open_lock(const std::string& path) {
  const auto open_it = [&](DWORD access, DWORD how) {
    return open_file(handle_, path, access, kShareAll, how, FILE_FLAG_OPEN_REPARSE_POINT);
  };
  // Denied is a folder, another user's, or one that is being removed.
  for (int tries = 0;; ++tries) {
    const std::error_code error = open_it(GENERIC_READ | GENERIC_WRITE, OPEN_ALWAYS);
    if (error != std::errc::permission_denied) return error;
    FileFacts facts;
    const bool is_there = !facts_of(path, Links::themselves, facts);
    if (is_there && facts.type == FileType::folder) return std::make_error_code(std::errc::is_a_directory);
    if (is_there) return open_it(GENERIC_READ, OPEN_EXISTING) ? error : std::error_code();
    if (tries == 50) return error;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

std::error_code SystemFile::close() {
  return error_of(CloseHandle(handle_of(std::exchange(handle_, kNone))));
}

std::error_code SystemFile::facts(FileFacts& facts) const {
  return facts_from(handle_of(handle_), facts);
}

std::error_code SystemFile::read_at(uint64_t position, void* data, size_t size, size_t& n) const {
  OVERLAPPED at = place(position);
  DWORD done = 0;
  const BOOL result = ReadFile(handle_of(handle_), data, at_once(size), &done, &at);
  n = done;
  return !result && GetLastError() == ERROR_HANDLE_EOF ? std::error_code() : error_of(result);
}

std::error_code SystemFile::write_at(uint64_t position, const void* data, size_t size, size_t& n) {
  OVERLAPPED at = place(position);
  DWORD done = 0;
  const BOOL result = WriteFile(handle_of(handle_), data, at_once(size), &done, &at);
  n = done;
  return error_of(result);
}

std::error_code SystemFile::truncate(uint64_t size) {
  FILE_END_OF_FILE_INFO end = {};
  end.EndOfFile.QuadPart = LONGLONG(size);
  return retried_while_held([&] {  // a part of it that is mapped cannot be cut
    return error_of(SetFileInformationByHandle(handle_of(handle_), FileEndOfFileInfo, &end, sizeof end));
  });
}

std::error_code SystemFile::sync() {
  return error_of(FlushFileBuffers(handle_of(handle_)));
}

std::error_code SystemFile::try_lock() {
  OVERLAPPED at = place(kLockedByte);
  return error_of(
      LockFileEx(handle_of(handle_), LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at));
}

// A mapped file can be neither replaced nor cut, by no program. So one that is not large is read: the
// adapters and checkpoints that a run replaces while others look at them.
std::error_code SystemFile::map(size_t size, const void*& data) const {
  constexpr size_t kLarge = size_t{64} << 20;
  if (size >= kLarge) {
    const Handle mapping(CreateFileMappingW(handle_of(handle_), nullptr, PAGE_READONLY, 0, 0, nullptr));
    if (!mapping) return windows_error();
    data = MapViewOfFile(mapping.get(), FILE_MAP_READ, 0, 0, size);
    return error_of(data != nullptr);
  }
  char* const copy =
      static_cast<char*>(VirtualAlloc(nullptr, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
  if (!copy) return windows_error();
  std::error_code error;
  for (size_t at = 0, n = 0; at < size && !error; at += n) {
    error = read_at(at, copy + at, size - at, n);
    if (!error && n == 0) error = windows_error(ERROR_HANDLE_EOF);
  }
  DWORD before = 0;
  if (!error) error = error_of(VirtualProtect(copy, size, PAGE_READONLY, &before));
  if (error) {
    VirtualFree(copy, 0, MEM_RELEASE);
  } else {
    data = copy;
  }
  return error;
}

void unmap(const void* data, size_t size) {
  // A copy, a view, or several of zeros in its place (lost_pages.cc). All are looked for first: another
  // thread may get the addresses of what is gone.
  std::vector<MEMORY_BASIC_INFORMATION> parts;
  for (auto at = reinterpret_cast<uintptr_t>(data), end = at + size; at < end;) {
    MEMORY_BASIC_INFORMATION info = {};
    if (!VirtualQuery(reinterpret_cast<void*>(at), &info, sizeof info)) break;
    const bool is_next = parts.empty() || parts.back().AllocationBase != info.AllocationBase;
    if (is_next && info.State != MEM_FREE) parts.push_back(info);
    at = reinterpret_cast<uintptr_t>(info.BaseAddress) + info.RegionSize;
  }
  for (const MEMORY_BASIC_INFORMATION& part : parts) {
    if (part.Type == MEM_MAPPED) {
      UnmapViewOfFile(part.AllocationBase);
    } else {
      VirtualFree(part.AllocationBase, 0, MEM_RELEASE);
    }
  }
}

size_t page_bytes() {
  SYSTEM_INFO info = {};
  GetSystemInfo(&info);
  return info.dwPageSize;
}

void drop_pages(const void* data, size_t size) {
  const uintptr_t page = page_bytes();
  const auto begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(data) + size) / page * page;
  MEMORY_BASIC_INFORMATION info = {};
  if (begin >= end || !VirtualQuery(reinterpret_cast<void*>(begin), &info, sizeof info)) return;
  // Of pages that are not locked this takes them out of the working set.
  if (info.Type == MEM_MAPPED) VirtualUnlock(reinterpret_cast<void*>(begin), end - begin);
}

void ask_for_pages(const void* data, size_t size) {
  WIN32_MEMORY_RANGE_ENTRY range = {const_cast<void*>(data), size};
  PrefetchVirtualMemory(GetCurrentProcess(), 1, &range, 0);
}

void fetch_pages(const void* data, size_t size) {
  ask_for_pages(data, size);
  // It does not wait; touching does. Between the views of two files there may be nothing to touch.
  const auto *at = static_cast<const char*>(data), *end = at + size;
  MEMORY_BASIC_INFORMATION info;
  while (at < end && VirtualQuery(at, &info, sizeof info)) {
    const char* const rest = static_cast<const char*>(info.BaseAddress) + info.RegionSize;
    const char* const stop = std::min(end, rest);
    if (info.State == MEM_COMMIT) {
      for (; at < stop; at += page_bytes()) static_cast<void>(*static_cast<const volatile char*>(at));
    }
    at = stop;
  }
}

void give_back_pages(const std::string&, uint64_t, const void* data, size_t size) {
  drop_pages(data, size);
}

std::error_code rename_over(const std::string& from, const std::string& to) {
  const std::wstring old_path = wide_path(from), new_path = wide_path(to), whole = whole_path(to);
  return retried([&] {
    const auto error = error_of(
        MoveFileExW(old_path.c_str(), new_path.c_str(), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH));
    const bool may_be_open =
        error == std::errc::permission_denied || error == std::errc::device_or_resource_busy;
    return may_be_open && !rename_over_open(old_path, whole) ? std::error_code() : error;
  });
}

std::error_code remove_name(const std::string& path) {
  if (is_stream(path)) return windows_error(ERROR_INVALID_NAME);
  const std::wstring name = wide_path(path);
  return retried_while_held([&] { return error_of(DeleteFileW(name.c_str())); });
}

std::error_code remove_folder(const std::string& path) {
  return retried_while_held([&] { return error_of(RemoveDirectoryW(wide_path(path).c_str())); });
}

std::error_code make_folders(const std::string& given, bool& is_new) {
  const std::string path = without_last_separators(given);
  is_new = false;
  FileFacts facts;
  if (!facts_of(path, Links::followed, facts))
    return facts.type == FileType::folder ? std::error_code() : windows_error(ERROR_DIRECTORY);
  bool is_parent_new = false;
  if (const std::string parent = folder_of(path); parent != "." && parent != path) {
    if (const auto error = make_folders(parent, is_parent_new)) return error;
  }
  const std::error_code error = error_of(CreateDirectoryW(wide_path(path).c_str(), nullptr));
  is_new = !error;
  return error == std::errc::file_exists ? std::error_code() : error;
}

std::error_code list_folder(const std::string& folder, std::vector<std::string>& names) {
  WIN32_FIND_DATAW found;
  const HANDLE search = FindFirstFileExW(wide_path(path_in(folder, "*")).c_str(), FindExInfoBasic, &found,
                                         FindExSearchNameMatch, nullptr, FIND_FIRST_EX_LARGE_FETCH);
  if (search == INVALID_HANDLE_VALUE) {
    const std::error_code error = windows_error();
    // A drive's root has neither "." nor "..".
    return error.value() == ERROR_FILE_NOT_FOUND ? std::error_code() : error;
  }
  do {
    const std::wstring_view name = found.cFileName;
    if (name != L"." && name != L"..") names.push_back(narrow(name));
  } while (FindNextFileW(search, &found));
  const DWORD why = GetLastError();
  FindClose(search);
  return why == ERROR_NO_MORE_FILES ? std::error_code() : windows_error(why);
}

std::error_code read_link(const std::string& path, std::string& to) {
  FileFacts facts;
  if (const auto error = facts_of(path, Links::followed, facts)) return error;
  to = real_path(path);
  return {};
}

std::error_code expect_writable(const std::string& path) {
  const std::wstring name = wide_path(path);
  const DWORD attributes = GetFileAttributesW(name.c_str());
  if (attributes == INVALID_FILE_ATTRIBUTES) return windows_error();
  if (attributes & FILE_ATTRIBUTE_READONLY) return windows_error(ERROR_ACCESS_DENIED);
  const Handle file(CreateFileW(name.c_str(), GENERIC_WRITE, kShareAll, nullptr, OPEN_EXISTING, 0, nullptr));
  const std::error_code error = error_of(bool(file));
  return error == std::errc::permission_denied ? error : std::error_code();  // else it is open, say
}

size_t longest_name(const std::string&) {
  return 255;  // UTF-16 units, of which UTF-8 has no fewer bytes
}

}  // namespace lora
