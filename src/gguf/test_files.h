// For tests: files built by hand, byte by byte, and removed afterwards.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/process.h"

namespace lora::test {

// A path in the temporary folder, unique to this process; the file there is removed at the end.
struct ScratchFile {
  std::string path;

  explicit ScratchFile(const std::string& name)
      : path(testing::TempDir() + "lora_" + std::to_string(process_id()) + "_" + name) {}
  ScratchFile(const std::string& name, std::string_view content) : ScratchFile(name) {
    std::ofstream(path, std::ios::binary).write(content.data(), std::streamsize(content.size()));
  }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  ~ScratchFile() { std::remove(path.c_str()); }

  std::string content() const {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Little-endian numbers and GGUF strings, appended one after the other.
struct Bytes {
  std::string data;

  template <class T>
  Bytes& number(T value) {
    data.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& u8(uint8_t v) { return number(v); }
  Bytes& u32(uint32_t v) { return number(v); }
  Bytes& u64(uint64_t v) { return number(v); }
  Bytes& raw(std::string_view text) {
    data += text;
    return *this;
  }
  Bytes& string(std::string_view text) { return u64(text.size()).raw(text); }
};

// The message of the lora::Error that `action` throws, "" if it throws none.
template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace lora::test
