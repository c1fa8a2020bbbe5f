// Foreign bytes, read from front to back; no step goes beyond their end. Numbers are little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace lora {

struct ByteCursor {
  std::span<const std::byte> bytes;
  const std::string& path;
  std::string_view fault = "truncated";  // what a file is whose bytes end too early
  std::string item = "the header";       // what is being read
  size_t at = 0;

  size_t left() const { return bytes.size() - at; }
  bool at_end() const { return at == bytes.size(); }

  // The next n bytes. Error "PATH: FAULT: ITEM needs N bytes at byte AT, LEFT are left".
  std::span<const std::byte> take(uint64_t n) {
    if (n > left())
      fail("{}: {}: {} needs {} bytes at byte {}, {} are left", path, fault, item, n, at, left());
    const auto taken = bytes.subspan(at, size_t(n));
    at += size_t(n);
    return taken;
  }
  std::string_view text(uint64_t n) {
    const auto taken = take(n);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
};

}  // namespace lora
