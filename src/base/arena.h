// Memory for one step, allocated once and handed out as a stack: nothing is allocated inside a step.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/buffer.h"
#include "base/error.h"
#include "base/large_pages.h"

namespace lora {

class Arena {
 public:
  explicit Arena(int64_t bytes) : storage_(bytes) { prefer_large_pages(storage_.data(), storage_.size()); }

  // Uninitialised space for n values, 64-byte aligned. Error if the arena was sized too small:
  // a fault of the function that sized it, not of its user.
  template <class T>
  T* take(int64_t n) {
    const int64_t bytes = size_of<T>(n);
    if (used_ + bytes > storage_.size()) {
      fail("workspace: {} bytes were planned, {} are needed", storage_.size(), used_ + bytes);
    }
    T* result = reinterpret_cast<T*>(storage_.data() + used_);
    used_ += bytes;
    peak_ = std::max(peak_, used_);
    return result;
  }

  // Bytes that take<T>(n) uses up.
  template <class T>
  static int64_t size_of(int64_t n) {
    return (n * int64_t(sizeof(T)) + 63) / 64 * 64;
  }

  int64_t capacity() const { return storage_.size(); }
  int64_t peak() const { return peak_; }

 private:
  friend class ArenaScope;
  Buffer<std::byte> storage_;
  int64_t used_ = 0, peak_ = 0;
};

// Gives back at the end of a scope what was taken in it.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), used_(arena.used_) {}
  ~ArenaScope() { arena_.used_ = used_; }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  int64_t used_;
};

}  // namespace lora
