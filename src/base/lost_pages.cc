#include "base/lost_pages.h"

#include <atomic>
#include <mutex>

#include "base/error.h"
#include "base/file_status.h"

namespace lora {
namespace {

// The signal handler walks a list that only grows; a mapping that ended leaves its place to the next one,
// unless it was lost. `end` is 0 while the rest is changed.
struct Mapping {
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<bool> lost{false};
  size_t size = 0;  // of the file; the mapping ends with a page
  std::string path;
  FileNumber file;
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

bool is_cut(const Mapping& m) {
  FileFacts facts;
  // Replaced by a rename, it is another file, and the mapped one is whole.
  return !facts_of(m.path, Links::followed, facts) && facts.number == m.file && facts.bytes < m.size;
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

bool lose_mapping_at(uintptr_t address) {
  Mapping* const m = find(address);
  if (!m || !put_zeros(m->begin.load(), m->end.load())) return false;
  lose(*m);
  return true;
}

bool is_lost_mapping_at(uintptr_t address) {
  const Mapping* const m = find(address);
  return m && m->lost;
}

void catch_lost_pages() {
  catches = true;
  catch_page_errors();
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

void begin_mapping(const FileNumber& file, const void* data, size_t size, const std::string& path) {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  const std::lock_guard lock(mutex);
  Mapping* m = mappings.load();
  while (m && (m->end.load() != 0 || m->lost)) m = m->next;
  const bool is_new = !m;
  if (is_new) m = new Mapping;  // for the life of the process: a handler may be looking at it
  m->file = file;
  m->size = size;
  m->path = path;
  m->begin = begin;
  m->end = (begin + size + page_bytes() - 1) / page_bytes() * page_bytes();
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
