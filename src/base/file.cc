#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/lost_pages.h"
#include "base/path.h"

namespace lora {
namespace {

std::string reason() {
  return std::strerror(errno);
}

// After a call that could not write what lies at `data`; that may be a file that cannot be read.
[[noreturn]] void fail_to_write(const std::string& name, const char* data) {
  const std::string why = reason();
  if (errno == EFAULT) note_unreadable(data);
  expect_no_lost_pages();
  fail("{}: cannot write: {}", name, why);
}

void write_all(int fd, const char* data, size_t size, const std::string& name) {
  while (size > 0) {
    const ssize_t n = ::write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_to_write(name, data);
    data += n;
    size -= size_t(n);
  }
}

// A rename is on disk only once its folder is.
void sync_folder_of(const std::string& path) {
  const int fd = ::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO would wait for its writer
  if (fd < 0) fail("{}: cannot open: {}", path, reason());
  struct stat st;
  std::string why;
  if (::fstat(fd, &st) != 0) {
    why = reason();
  } else if (!S_ISREG(st.st_mode)) {
    why = S_ISDIR(st.st_mode) ? "a folder" : "not a regular file";
  } else if (st.st_size > 0) {
    void* p = ::mmap(nullptr, size_t(st.st_size), PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
      why = reason();
    } else {
      data_ = static_cast<const std::byte*>(p);
      size_ = size_t(st.st_size);
      begin_mapping(fd, data_, size_, path_);
    }
  }
  ::close(fd);
  if (!why.empty()) fail("{}: cannot open: {}", path, why);
}

MappedFile::~MappedFile() {
  if (!data_) return;
  end_mapping(data_);
  ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::span<const std::byte> part) {
  const auto page = uintptr_t(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(part.data() + part.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

AtomicFile::AtomicFile(std::string path)
    : path_(std::move(path)), hold_(Hold::unless_ours(path_)), target_(output_target(path_)) {
  struct stat st;
  const bool replaces = ::stat(target_.c_str(), &st) == 0;
  do {
    temporary_ = temporary_name(target_);
    leftover_ = Leftover(temporary_);
    // Nobody sees more of it on the way than of what it replaces.
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                 replaces ? 0600 : 0666);
  } while (fd_ < 0 && errno == EEXIST);
  if (fd_ < 0) fail("{}: cannot create: {}", path_, reason());
  if (!replaces) return;
  // As far as it is allowed: a file system may have neither.
  [[maybe_unused]] const bool owner =
      ::fchown(fd_, st.st_uid, st.st_gid) == 0 || ::fchown(fd_, -1, st.st_gid) == 0;
  struct stat now;
  const bool same_group = ::fstat(fd_, &now) == 0 && now.st_gid == st.st_gid;
  [[maybe_unused]] const bool mode = ::fchmod(fd_, st.st_mode & (same_group ? 0777 : 0707)) == 0;
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::flush() {
  expect_no_lost_pages();
  write_all(fd_, buffered_.data(), buffered_.size(), path_);
  buffered_.clear();
}

void AtomicFile::write(const void* data, size_t size) {
  constexpr size_t kBuffer = size_t{1} << 20;
  position_ += size;
  if (buffered_.size() + size > kBuffer) flush();
  if (size > kBuffer) {
    write_all(fd_, static_cast<const char*>(data), size, path_);
  } else {
    buffered_.append(static_cast<const char*>(data), size);
  }
}

void AtomicFile::write_at(uint64_t position, const void* data, size_t size) {
  expect_no_lost_pages();
  for (const char* from = static_cast<const char*>(data); size > 0;) {
    const ssize_t n = ::pwrite(fd_, from, size, off_t(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_to_write(path_, from);
    from += n;
    position += uint64_t(n);
    size -= size_t(n);
  }
}

void AtomicFile::sync() {
  flush();
  if (::fsync(fd_) != 0) fail("{}: cannot flush to disk: {}", path_, reason());
}

void AtomicFile::commit() {
  sync();
  look_for_cut_files();
  expect_no_lost_pages();  // else what is written may come of zeros
  const int closed = ::close(std::exchange(fd_, -1));
  if (closed != 0 || ::rename(temporary_.c_str(), target_.c_str()) != 0) {
    const std::string why = reason();
    ::unlink(temporary_.c_str());
    fail("{}: cannot write: {}", path_, why);
  }
  sync_folder_of(target_);
  leftover_ = {};
  hold_ = {};
}

NewFolder::NewFolder(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const SignalsWait no_signal_between;
  std::error_code error;
  const bool is_new = std::filesystem::create_directories(path, error);
  if (error) fail("{}: cannot make the folder: {}", path, error.message());
  if (!is_new) return;
  made_ = std::move(path);
  leftover_ = Leftover(made_);
}

NewFolder::~NewFolder() {
  if (!made_.empty()) ::rmdir(made_.c_str());
}

void NewFolder::keep() {
  made_.clear();
  leftover_ = {};
}

// Delegates, so that the destructor closes the file when the rest throws.
AppendFile::AppendFile(std::string path, const std::function<bool(std::string_view)>& keep) : AppendFile() {
  path_ = std::move(path);
  constexpr int kFlags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  const std::string target = output_target(path_);
  fd_ = ::open(target.c_str(), kFlags, 0666);
  if (fd_ < 0) fail("{}: cannot create: {}", path_, reason());
  size_t kept = 0;
  {
    const MappedFile before(target);
    const std::string_view text = before.text();
    for (size_t end; (end = text.find('\n', kept)) != std::string_view::npos; kept = end + 1) {
      if (!keep(text.substr(kept, end - kept))) break;
    }
  }
  if (::ftruncate(fd_, off_t(kept)) != 0 || ::lseek(fd_, off_t(kept), SEEK_SET) < 0) {
    fail("{}: cannot truncate: {}", path_, reason());
  }
  size_ = kept;
}

AppendFile::~AppendFile() {
  if (fd_ >= 0) ::close(fd_);
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

AppendFile& AppendFile::operator=(AppendFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

void AppendFile::write_line(std::string_view line) {
  std::string text(line);
  text += '\n';
  try {
    write_all(fd_, text.data(), text.size(), path_);
  } catch (const Error&) {
    if (::ftruncate(fd_, off_t(size_)) == 0) ::lseek(fd_, off_t(size_), SEEK_SET);
    throw;
  }
  size_ += text.size();
}

void AppendFile::sync() {
  if (fd_ >= 0) ::fsync(fd_);
}

bool file_exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

std::vector<std::string> files_in(const std::string& folder) {
  std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(folder.c_str()), ::closedir);
  if (!open) fail("{}: cannot open: {}", folder, reason());
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(open.get())) {
    if (!is_directory(folder + "/" + entry->d_name)) names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

FilesBelow files_below(const std::string& folder) {
  namespace fs = std::filesystem;
  FilesBelow found;
  std::vector<std::string> folders = {folder};
  while (!folders.empty()) {
    const std::string at = std::move(folders.back());
    folders.pop_back();
    std::error_code error, gone;
    for (fs::directory_iterator entry(at, error); !error && entry != fs::directory_iterator();
         entry.increment(error)) {
      const std::string name = entry->path().filename(), path = at + (at.ends_with('/') ? "" : "/") + name;
      const bool is_folder = entry->is_directory(gone);
      if (name.starts_with('.')) {
        ++found.n_hidden;
      } else if (is_folder && !entry->is_symlink(gone)) {
        folders.push_back(path);
      } else if (!is_folder && (entry->is_regular_file(gone) || !entry->exists(gone))) {
        found.files.push_back(path);  // a link to nothing is an error where it is read
      } else {
        ++found.n_others;
      }
    }
    if (error) fail("{}: cannot read the folder: {}", at, error.message());
  }
  std::sort(found.files.begin(), found.files.end());
  return found;
}

bool is_directory(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

}  // namespace lora
