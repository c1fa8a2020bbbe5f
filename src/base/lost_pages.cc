#include "base/lost_pages.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>

#include "base/error.h"

namespace lora {
namespace {

// The signal handler walks a list that only grows; a mapping that ended leaves its place to the next one,
// unless it was lost. `end` is 0 while the rest is changed.
struct Mapping {
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<bool> lost{false};
  size_t size = 0;  // of the file; the mapping ends with a page
  std::string path;
  dev_t device = 0;
  ino_t inode = 0;
  Mapping* next = nullptr;
};
std::atomic<Mapping*> mappings{nullptr};
std::atomic<bool> catches{false}, any_lost{false};
std::mutex mutex;  // of those who change the list, and of paths

// Async-signal-safe. nullptr: none.
Mapping* find(uintptr_t address) {
  for (Mapping* m = mappings.load(); m; m = m->next) {
    const uintptr_t end = m->end.load(), begin = m->begin.load();
    if (begin <= address && address < end && m->end.load() == end) return m;
  }
  return nullptr;
}

void lose(Mapping& m) {
  m.lost = true;
  any_lost = true;
}

void on_bus_error(int number, siginfo_t* info, void*) {
  const int saved_errno = errno;
  Mapping* m = info->si_code > 0 ? find(reinterpret_cast<uintptr_t>(info->si_addr)) : nullptr;
  if (m) {
    const uintptr_t begin = m->begin.load(), end = m->end.load();
    // Not on POSIX's list of safe functions, but a bare system call.
    void* zeros = mmap(reinterpret_cast<void*>(begin), end - begin, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    if (zeros == MAP_FAILED) m = nullptr;
  }
  if (m) {
    lose(*m);
  } else {
    signal(number, SIG_DFL);                // the same instruction faults again, with its own address
    if (info->si_code <= 0) raise(number);  // sent by somebody: nothing faults
  }
  errno = saved_errno;
}

bool is_cut(const Mapping& m) {
  struct stat st;
  // Replaced by a rename, it is another file, and the mapped one is whole.
  return ::stat(m.path.c_str(), &st) == 0 && st.st_dev == m.device && st.st_ino == m.inode &&
         size_t(st.st_size) < m.size;
}

std::string text_of(const std::string& path) {
  return fmt::format("{}: cannot be read any more: it was cut short or its disk failed while it was in use",
                     path);
}

void lose_or_throw(Mapping& m) {
  if (!catches) throw Error(text_of(m.path));
  lose(m);
}

}  // namespace

void catch_lost_pages() {
  catches = true;
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaction(SIGBUS, &action, nullptr);
}

std::string lost_pages() {
  if (!any_lost.load(std::memory_order_acquire)) return "";
  const std::lock_guard lock(mutex);
  std::string path;  // the list holds the youngest first
  for (const Mapping* m = mappings.load(); m; m = m->next) {
    if (m->lost) path = m->path;
  }
  return text_of(path);
}

void expect_no_lost_pages() {
  if (any_lost.load(std::memory_order_acquire)) throw Error(lost_pages());
}

void begin_mapping(int fd, const void* data, size_t size, const std::string& path) {
  const auto page = uintptr_t(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const std::lock_guard lock(mutex);
  Mapping* m = mappings.load();
  while (m && (m->end.load() != 0 || m->lost)) m = m->next;
  const bool is_new = !m;
  if (is_new) m = new Mapping;  // for the life of the process: a handler may be looking at it
  struct stat st;
  const bool known = ::fstat(fd, &st) == 0;
  m->device = known ? st.st_dev : 0;
  m->inode = known ? st.st_ino : 0;
  m->size = size;
  m->path = path;
  m->begin = begin;
  m->end = (begin + size + page - 1) / page * page;
  if (!is_new) return;
  m->next = mappings.load();
  mappings = m;
}

void end_mapping(const void* data) {
  const std::lock_guard lock(mutex);
  Mapping* m = find(reinterpret_cast<uintptr_t>(data));
  if (!m) return;
  if (catches && is_cut(*m)) lose(*m);
  m->end = 0;
}

void note_unreadable(const void* address) {
  const std::lock_guard lock(mutex);
  if (Mapping* m = find(reinterpret_cast<uintptr_t>(address))) lose_or_throw(*m);
}

void look_for_cut_files() {
  const std::lock_guard lock(mutex);
  for (Mapping* m = mappings.load(); m; m = m->next) {
    if (m->end.load() != 0 && is_cut(*m)) lose_or_throw(*m);
  }
}

}  // namespace lora
