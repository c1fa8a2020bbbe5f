// Cache-line aligned storage for numbers: zero at first, movable, never resized in place. The system gives
// large ones page by page as they are touched, so what is never used costs nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

namespace lora {

template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t size) : size_(size) {
    if (size == 0) return;
    storage_.reset(std::calloc(size_t(size) * sizeof(T) + kAlignment - 1, 1));
    if (!storage_) throw std::bad_alloc();
    const uintptr_t address = reinterpret_cast<uintptr_t>(storage_.get());
    data_ = reinterpret_cast<T*>((address + kAlignment - 1) / kAlignment * kAlignment);
  }
  T* data() { return data_; }
  const T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }
  std::span<T> span() { return {data(), size_t(size_)}; }
  std::span<const T> span() const { return {data(), size_t(size_)}; }

 private:
  static constexpr uintptr_t kAlignment = 64;
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> storage_;
  T* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace lora
