#include "base/output.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/path.h"

namespace lora {
namespace {

constexpr std::string_view kLock = ".lora-lock", kTemporary = ".tmp";
constexpr size_t kDigits = 16;
constexpr size_t kLongestEnd = 1 + kDigits + kTemporary.size();

std::string reason() {
  return std::strerror(errno);
}

uint64_t random_number() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

std::string digits(uint64_t number) {
  return fmt::format("{:016x}", number);
}

bool are_digits(std::string_view text) {
  return text.size() == kDigits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

// What the names beside a target begin with: the target's own, or of a long one as much as leaves room for an
// end, and its hash. Whole UTF-8 characters, which some file systems insist on.
std::string stem_of(const std::string& target) {
  const auto [folder, name] = split_path(target);
  const long limit = ::pathconf(folder_of(target).c_str(), _PC_NAME_MAX);
  const size_t room = std::max<size_t>(64, limit > 0 ? size_t(limit) : NAME_MAX) - kLongestEnd;
  if (name.size() <= room) return target;
  size_t cut = room - 1 - kDigits;
  while (cut > 0 && (static_cast<unsigned char>(name[cut]) & 0xC0) == 0x80) --cut;
  return folder + name.substr(0, cut) + "~" + digits(hash(name));
}

// This process, apart from those that have its number in another container.
std::string own_text() {
  static const uint64_t token = random_number();
  return fmt::format("{} {}\n", ::getpid(), digits(token));  // a forked process has the token, too
}

// "PID DIGITS\n", or nothing yet.
bool is_text_of_lock(std::string_view text) {
  const size_t space = text.find_first_not_of("0123456789");
  return text.empty() ||
         (space != text.npos && space > 0 && space < 20 && text[space] == ' ' && text.ends_with('\n') &&
          are_digits(text.substr(space + 1, text.size() - space - 2)));
}

std::string read_text(int fd) {
  char text[64];
  const ssize_t n = ::pread(fd, text, sizeof text, 0);
  if (n <= 0) return "";
  const std::string read(text, size_t(n));
  // After a power cut a file may have its length and zeros: as good as empty.
  return n < ssize_t{sizeof text} && read.find_first_not_of('\0') == read.npos ? "" : read;
}

// Of a file that is locked; who has just taken it needs a moment to write it.
std::string read_holder(int fd) {
  std::string text;
  for (int i = 0; i < 100 && (text = read_text(fd)).empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return text;
}

struct Descriptor {
  int fd;
  explicit Descriptor(int f) : fd(f) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

// -1 and errno if it cannot be opened.
int open_lock(const std::string& path) {
  constexpr int kFlags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | kFlags, 0644);
  if (fd >= 0 || errno != EACCES) return fd;
  const int other = ::open(path.c_str(), O_RDONLY | kFlags);  // another user's
  if (other < 0) errno = EACCES;
  return other;
}

// Whether a name still leads to an open file. One that is just being removed may have its name and no link.
bool is_at(int fd, const std::string& path, struct stat& st) {
  struct stat there;
  return ::fstat(fd, &st) == 0 && st.st_nlink > 0 && ::lstat(path.c_str(), &there) == 0 &&
         st.st_dev == there.st_dev && st.st_ino == there.st_ino;
}

// Of a target whose lock is held: nobody writes them.
void remove_temporaries(const std::string& target) {
  const std::string folder = split_path(target).first, stem = split_path(stem_of(target)).second;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(folder_of(target).c_str()), ::closedir);
  if (!open) return;
  while (const dirent* entry = ::readdir(open.get())) {
    const std::string_view name = entry->d_name;
    if (!name.ends_with(kTemporary) || target_of_leftover(name) != stem) continue;
    const std::string path = folder + entry->d_name;
    struct stat st;
    if (::lstat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
        st.st_uid == ::geteuid())
      ::unlink(path.c_str());
  }
}

}  // namespace

std::string output_target(const std::string& path) {
  std::string target = path;
  struct stat st;
  for (int links = 0; ::lstat(target.c_str(), &st) == 0 && S_ISLNK(st.st_mode); ++links) {
    char to[PATH_MAX];
    const ssize_t n = ::readlink(target.c_str(), to, sizeof to);
    if (n < 0) fail("{}: cannot write: {}", path, reason());
    if (links == 40) fail("{}: cannot write: {}", path, std::strerror(ELOOP));
    const std::string name(to, size_t(n));
    target = name.starts_with('/') ? name : split_path(target).first + name;
  }
  // By the first name: a link of /proc leads to what its text does not name.
  struct stat there;
  if (::stat(path.c_str(), &there) != 0) {
    if (errno != ENOENT) fail("{}: cannot write: {}", path, reason());
    return target;
  }
  if (!S_ISREG(there.st_mode)) {
    fail("{}: cannot write: {}", path, S_ISDIR(there.st_mode) ? "a folder" : "not a regular file");
  }
  if (target != path && ::lstat(target.c_str(), &st) != 0) fail("{}: cannot write: it has no name", path);
  if (::access(target.c_str(), W_OK) != 0 && errno != ENOENT) {
    fail("{}: cannot write: {} (the file is write-protected)", path, reason());
  }
  return target;
}

std::string temporary_name(const std::string& target) {
  return fmt::format("{}.{}{}", stem_of(target), digits(random_number()), kTemporary);
}

std::string target_of_leftover(std::string_view name) {
  if (name.ends_with(kLock)) return std::string(name.substr(0, name.size() - kLock.size()));
  if (name.size() <= kLongestEnd || !name.ends_with(kTemporary)) return "";
  const std::string_view target = name.substr(0, name.size() - kLongestEnd), end = name.substr(target.size());
  return end[0] == '.' && are_digits(end.substr(1, kDigits)) ? std::string(target) : "";
}

bool is_temporary_of(const std::string& target, const std::string& file) {
  const std::string name = split_path(file).second;
  return name.ends_with(kTemporary) && target_of_leftover(name) == split_path(stem_of(target)).second;
}

Hold::Hold(const std::string& path) : Hold(path, false) {}

Hold Hold::unless_ours(const std::string& path) {
  return {path, true};
}

Hold::Hold(const std::string& path, bool ours_will_do) {
  const SignalsWait no_signal_between;
  const std::string target = output_target(path);
  lock_ = stem_of(target) + std::string(kLock);
  const auto in_the_way = [&](std::string_view why) {
    fail("{}: cannot write: {} is in the way: {}", path, lock_, why);
  };
  for (int tries = 0; tries < 100; ++tries) {
    Descriptor file{open_lock(lock_)};
    if (file.fd < 0 && (errno == ELOOP || errno == EISDIR || errno == ENXIO)) in_the_way("no lock file");
    if (file.fd < 0) fail("{}: cannot create: {}", path, reason());
    struct stat st;
    if (!is_at(file.fd, lock_, st)) continue;  // its holder has just removed it
    // Nothing is written to, or removed, that may be another file.
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || !is_text_of_lock(read_text(file.fd))) {
      in_the_way("no lock file");
    }
    if (::flock(file.fd, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) {
        warning_ =
            fmt::format("warning: {}: {}, so another process that writes it is not noticed", path, reason());
        if (st.st_uid == ::geteuid()) ::unlink(lock_.c_str());
        return;
      }
      const std::string text = read_holder(file.fd);
      if (ours_will_do && text == own_text()) return;
      fail("{}: cannot write: {} writes it ({}); wait for its end, or write to another name", path,
           text.empty() ? "another process" : "process " + text.substr(0, text.find(' ')), lock_);
    }
    if (!is_at(file.fd, lock_, st)) continue;
    if (st.st_uid != ::geteuid()) {  // nobody's any more
      if (::unlink(lock_.c_str()) != 0) in_the_way(fmt::format("another user's, and {}", reason()));
      continue;
    }
    const std::string text = own_text();
    if (::ftruncate(file.fd, 0) != 0 ||
        ::pwrite(file.fd, text.data(), text.size(), 0) != ssize_t(text.size())) {
      const std::string why = reason();
      ::unlink(lock_.c_str());
      fail("{}: cannot write: {}", path, why);
    }
    leftover_ = Leftover(lock_);
    remove_temporaries(target);
    fd_ = std::exchange(file.fd, -1);
    return;
  }
  in_the_way("it changes all the time");
}

Hold::~Hold() {
  if (fd_ < 0) return;
  const SignalsWait no_signal_between;
  leftover_ = {};
  ::unlink(lock_.c_str());  // before others can take it
  ::close(fd_);
}

Hold::Hold(Hold&& other) noexcept
    : lock_(std::move(other.lock_)),
      warning_(std::move(other.warning_)),
      leftover_(std::move(other.leftover_)),
      fd_(std::exchange(other.fd_, -1)) {}

Hold& Hold::operator=(Hold&& other) noexcept {
  std::swap(lock_, other.lock_);
  std::swap(warning_, other.warning_);
  std::swap(leftover_, other.leftover_);
  std::swap(fd_, other.fd_);
  return *this;
}

}  // namespace lora
