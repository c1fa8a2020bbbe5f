// Memory for one step, allocated once and handed out as a stack: nothing is allocated inside a step. How much
// it takes, the step itself tells in a dry run: with an arena that only measures, and a pool that runs
// nothing.
//
// What lies between a forward pass and a backward pass that does not follow at once is in the way of neither
// stack: such an arena has memory of its own at the bottom, and above that the memory of another, which all
// of its kind use in turn.
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
  explicit Arena(int64_t bytes) : storage_(bytes), base_(storage_.data()), above_(base_), capacity_(bytes) {
    prefer_large_pages(storage_.data(), storage_.size());
  }
  // `own` bytes of its own, and above them all that `shared` has, as far as others do not use it.
  Arena(int64_t own, Arena& shared)
      : storage_(own),
        base_(storage_.data()),
        above_(shared.base_),
        own_(own),
        capacity_(own + shared.capacity_) {
    prefer_large_pages(storage_.data(), storage_.size());
  }
  // One that has any size and no memory: what it hands out must not be looked at. own: where the memory that
  // it would share begins.
  static Arena measuring(int64_t own = 0) { return Arena(Nowhere{}, own); }

  // Uninitialised space for n values, 64-byte aligned. Error if the arena was sized too small:
  // a fault of the function that sized it, not of its user.
  template <class T>
  T* take(int64_t n) {
    const int64_t bytes = size_of<T>(n);
    if (used_ < own_ && used_ + bytes > own_) used_ = own_;
    if (used_ + bytes > capacity_) {
      fail("workspace: {} bytes were planned, {} are needed", capacity_, used_ + bytes);
    }
    T* result = reinterpret_cast<T*>(used_ < own_ ? base_ + used_ : above_ + (used_ - own_));
    used_ += bytes;
    peak_ = std::max(peak_, used_);
    return result;
  }

  // Bytes that take<T>(n) uses up.
  template <class T>
  static int64_t size_of(int64_t n) {
    return (n * int64_t(sizeof(T)) + 63) / 64 * 64;
  }

  // A place on the stack; release() gives back what was taken since.
  struct Mark {
    int64_t used;
  };
  Mark mark() const { return {used_}; }
  void release(Mark mark) { used_ = mark.used; }

  int64_t capacity() const { return capacity_; }
  int64_t peak() const { return peak_; }

 private:
  static constexpr uintptr_t kNowhere = 64;  // in the page that no system maps
  struct Nowhere {};
  Arena(Nowhere, int64_t own)
      : base_(reinterpret_cast<std::byte*>(kNowhere)), above_(base_), own_(own), capacity_(INT64_MAX) {}

  Buffer<std::byte> storage_;
  std::byte *base_, *above_;
  int64_t own_ = 0, capacity_;
  int64_t used_ = 0, peak_ = 0;
};

// Gives back at the end of a scope what was taken in it.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.release(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace lora
