#include "base/path.h"

#include <filesystem>

namespace lora {
namespace {

namespace fs = std::filesystem;

}  // namespace

bool is_separator(char c) {
  return c == '/';
}

size_t root_size(std::string_view path) {
  return path.starts_with('/') ? 1 : 0;
}

std::string absolute_path(const std::string& path) {
  std::error_code error;
  const fs::path whole = fs::absolute(path, error);
  return error ? path : whole.lexically_normal().string();
}

std::string real_path(const std::string& path) {
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(path, error);
  return error ? path : whole.string();
}

std::string fold_case(std::string text) {
  return text;
}

}  // namespace lora
