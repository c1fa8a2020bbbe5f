// Arrays one behind the other in a task's scratch, each 64-byte aligned: for taking and for counting.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lora {

class Layout {
 public:
  explicit Layout(std::byte* begin) : begin_(begin) {}

  template <class T>
  T* take(int64_t n) {
    T* result = begin_ ? reinterpret_cast<T*>(begin_ + used_) : nullptr;
    used_ += (n * int64_t(sizeof(T)) + 63) / 64 * 64;
    return result;
  }
  int64_t used() const { return used_; }

 private:
  std::byte* begin_;
  int64_t used_ = 0;
};

}  // namespace lora
