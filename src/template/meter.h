// What a rendering may use. A template is a foreign program: it gets so many steps, so many bytes, and no
// more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "template/raised.h"

namespace lora::jinja {

inline constexpr uint64_t kMostSteps = 20'000'000;         // some seconds; a plain turn takes about a hundred
inline constexpr size_t kMostBytes = size_t{256} << 20;    // of all values that live at a time
inline constexpr size_t kMostWritten = size_t{256} << 20;  // put out, by macros and blocks too
inline constexpr int kMostDepth = 100;                     // of lists within lists
inline constexpr int kMostNesting = 200;                   // of expressions and of blocks, in the source
inline constexpr int kMostRecursion = 1000;                // of expressions and blocks, as they run

class Meter {
 public:
  void step(uint64_t steps) {
    if (steps > steps_) end("RuntimeError", "the template takes too many steps");
    steps_ -= steps;
  }
  // Before `bytes` more are asked for.
  void need(size_t bytes) const {
    if (bytes > kMostBytes - bytes_) end("MemoryError", "the template's values take too much memory");
  }
  void take(size_t bytes) {
    need(bytes);
    bytes_ += bytes;
  }
  void give_back(size_t bytes) { bytes_ -= bytes; }
  void write(size_t bytes) {
    if (bytes > kMostWritten - written_) end("MemoryError", "the template puts out too much");
    written_ += bytes;
  }

  // What act() uses does not count; returns its steps. It must come to its end by itself.
  template <class Act>
  uint64_t uncounted(const Act& act) {
    const uint64_t steps = steps_;
    const size_t written = written_;
    act();
    written_ = written;
    return steps - std::exchange(steps_, steps);
  }

  // Of the rendering that this thread is at; null outside.
  static inline thread_local Meter* current = nullptr;

 private:
  [[noreturn]] static void end(const char* type, const char* why) {
    Raised error(type, why);
    error.hits_bound = true;
    throw error;
  }

  uint64_t steps_ = kMostSteps;
  size_t bytes_ = 0, written_ = 0;
};

// The same for the rendering that this thread is at, if it is at one.
inline void spend(uint64_t steps = 1) {
  if (Meter::current) Meter::current->step(steps);
}
inline void need_bytes(size_t bytes) {
  if (Meter::current) Meter::current->need(bytes);
}

}  // namespace lora::jinja
