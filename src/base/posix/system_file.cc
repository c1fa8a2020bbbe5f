#include "base/system_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <string_view>

#include "base/path.h"

namespace lora {
namespace {

// Of the call before, which says -1 if it failed.
std::error_code error_of(int64_t result) {
  return result < 0 ? std::error_code(errno, std::generic_category()) : std::error_code();
}

FileFacts facts_from(const struct stat& st) {
  const FileType type = S_ISREG(st.st_mode)   ? FileType::regular
                        : S_ISDIR(st.st_mode) ? FileType::folder
                        : S_ISLNK(st.st_mode) ? FileType::link
                                              : FileType::other;
  return {type, uint64_t(st.st_size), FileNumber(st.st_dev, st.st_ino), uint64_t(st.st_nlink)};
}

template <class Call>
std::error_code transfer(const Call& call, size_t& n) {
  ssize_t result = -1;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  n = result < 0 ? 0 : size_t(result);
  return error_of(result);
}

}  // namespace

std::error_code facts_of(const std::string& path, Links links, FileFacts& facts) {
  struct stat st;
  const int result = links == Links::followed ? ::stat(path.c_str(), &st) : ::lstat(path.c_str(), &st);
  if (result == 0) facts = facts_from(st);
  return error_of(result);
}

bool is_own(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0 && st.st_uid == ::geteuid();
}

SystemFile::~SystemFile() {
  if (is_open()) ::close(int(handle_));
}

std::error_code SystemFile::open(const std::string& path) {
  return error_of(handle_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
}

std::error_code SystemFile::open_uncached(const std::string& path) {
#ifdef O_DIRECT
  return error_of(handle_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_DIRECT));
#else
  return std::make_error_code(std::errc::not_supported);
#endif
}

std::error_code SystemFile::create(const std::string& path, const std::string& replaced) {
  struct stat old;
  const bool replaces = !replaced.empty() && ::stat(replaced.c_str(), &old) == 0;
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const int fd = ::open(path.c_str(), kFlags, replaces ? 0600 : 0666);
  handle_ = fd;
  if (fd < 0 || !replaces) return error_of(fd);
  // As far as it is allowed: a file system may have neither.
  [[maybe_unused]] const bool owner =
      ::fchown(fd, old.st_uid, old.st_gid) == 0 || ::fchown(fd, -1, old.st_gid) == 0;
  struct stat now;
  const bool same_group = ::fstat(fd, &now) == 0 && now.st_gid == old.st_gid;
  [[maybe_unused]] const bool mode = ::fchmod(fd, old.st_mode & (same_group ? 0777 : 0707)) == 0;
  return {};
}

std::error_code SystemFile::open_or_create(const std::string& path) {
  constexpr int kFlags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  return error_of(handle_ = ::open(path.c_str(), kFlags, 0666));
}

std::error_code SystemFile::open_lock(const std::string& path) {
  constexpr int kFlags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  const std::error_code error = error_of(handle_ = ::open(path.c_str(), O_RDWR | O_CREAT | kFlags, 0644));
  if (error != std::errc::permission_denied) return error;
  handle_ = ::open(path.c_str(), O_RDONLY | kFlags);  // another user's
  return is_open() ? std::error_code() : error;
}

std::error_code SystemFile::close() {
  return error_of(::close(int(std::exchange(handle_, kNone))));
}

std::error_code SystemFile::facts(FileFacts& facts) const {
  struct stat st;
  const int result = ::fstat(int(handle_), &st);
  if (result == 0) facts = facts_from(st);
  return error_of(result);
}

std::error_code SystemFile::read_at(uint64_t position, void* data, size_t size, size_t& n) const {
  return transfer([&] { return ::pread(int(handle_), data, size, off_t(position)); }, n);
}

std::error_code SystemFile::write_at(uint64_t position, const void* data, size_t size, size_t& n) {
  return transfer([&] { return ::pwrite(int(handle_), data, size, off_t(position)); }, n);
}

std::error_code SystemFile::truncate(uint64_t size) {
  return error_of(::ftruncate(int(handle_), off_t(size)));
}

std::error_code SystemFile::sync() {
  return error_of(::fsync(int(handle_)));
}

std::error_code SystemFile::try_lock() {
  int result = -1;
  do {
    result = ::flock(int(handle_), LOCK_EX | LOCK_NB);
  } while (result < 0 && errno == EINTR);
  return error_of(result);
}

std::error_code SystemFile::map(size_t size, const void*& data) const {
  void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, int(handle_), 0);
  if (mapped == MAP_FAILED) return error_of(-1);
  data = mapped;
  return {};
}

void unmap(const void* data, size_t size) {
  ::munmap(const_cast<void*>(data), size);
}

size_t page_bytes() {
  return size_t(::sysconf(_SC_PAGESIZE));
}

void drop_pages(const void* data, size_t size) {
  const uintptr_t page = page_bytes();
  const auto begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(data) + size) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

namespace {

// Of all pages that what lies there touches.
void advise(const void* data, size_t size, int advice) {
  const uintptr_t page = page_bytes(), begin = reinterpret_cast<uintptr_t>(data) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(data) + size;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace

// Where large pages are preferred, a page fault reads megabytes at once into them (since Linux 5.18), for a
// third of the system's time that small ones take.
void fetch_pages(const void* data, size_t size) {
#ifdef MADV_POPULATE_READ
  constexpr uintptr_t kLarge = 2 << 20;
  const uintptr_t page = (reinterpret_cast<uintptr_t>(data) + kLarge - 1) / kLarge * kLarge;
  const bool has_large = page + kLarge <= reinterpret_cast<uintptr_t>(data) + size;
  // Whether one fault brings more than its own page; of a file of another user mincore() says that all is
  // there.
  unsigned char before = 1, after = 1;
  if (has_large) {
    void* const middle = reinterpret_cast<void*>(page + kLarge / 2);
    ::mincore(middle, 1, &before);
    advise(reinterpret_cast<void*>(page), 1, MADV_POPULATE_READ);
    ::mincore(middle, 1, &after);
  }
  if ((before & 1) || !(after & 1)) advise(data, size, MADV_WILLNEED);  // large reads, many at once
  advise(data, size, MADV_POPULATE_READ);  // waits, and maps them; since Linux 5.14
#else
  advise(data, size, MADV_WILLNEED);
#endif
}

void ask_for_pages(const void* data, size_t size) {
  advise(data, size, MADV_WILLNEED);
}

void give_back_pages(const std::string& path, uint64_t position, const void* data, size_t size) {
  drop_pages(data, size);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return;
  ::posix_fadvise(fd, off_t(position), off_t(size), POSIX_FADV_DONTNEED);
  ::close(fd);
}

std::error_code rename_over(const std::string& from, const std::string& to) {
  if (const std::error_code error = error_of(::rename(from.c_str(), to.c_str()))) return error;
  // On the disk only once the folder is.
  const int fd = ::open(folder_of(to).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return {};
  ::fsync(fd);
  ::close(fd);
  return {};
}

std::error_code remove_name(const std::string& path) {
  return error_of(::unlink(path.c_str()));
}

std::error_code remove_folder(const std::string& path) {
  return error_of(::rmdir(path.c_str()));
}

std::error_code make_folders(const std::string& path, bool& is_new) {
  std::error_code error;
  is_new = std::filesystem::create_directories(path, error);
  return error;
}

std::error_code list_folder(const std::string& folder, std::vector<std::string>& names) {
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(folder.c_str()), ::closedir);
  if (!open) return error_of(-1);
  while (true) {
    errno = 0;
    const dirent* const entry = ::readdir(open.get());
    if (!entry) return error_of(errno == 0 ? 0 : -1);
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
}

std::error_code read_link(const std::string& path, std::string& to) {
  char text[PATH_MAX];
  const ssize_t n = ::readlink(path.c_str(), text, sizeof text);
  if (n >= 0) to.assign(text, size_t(n));
  return error_of(n);
}

std::error_code expect_writable(const std::string& path) {
  return error_of(::access(path.c_str(), W_OK));
}

size_t longest_name(const std::string& folder) {
  const long limit = ::pathconf(folder.c_str(), _PC_NAME_MAX);
  return limit > 0 ? size_t(limit) : NAME_MAX;
}

}  // namespace lora
