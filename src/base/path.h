// Paths as text.
#pragma once

#include <string>
#include <utility>

namespace lora {

// {folder, name}: the folder ends with a slash, or is empty.
inline std::pair<std::string, std::string> split_path(const std::string& path) {
  const size_t name = path.rfind('/') + 1;  // npos + 1 is 0
  return {path.substr(0, name), path.substr(name)};
}

// The folder that a path's file lies in, to be opened or put before another name: "." where none is named.
inline std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == path.npos ? "." : path.substr(0, slash == 0 ? 1 : slash);
}

// The last part of a path, without a slash at its end: "models/tiny/" is "tiny". `otherwise` where it has
// none.
inline std::string last_part_of(std::string path, const std::string& otherwise) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const std::string name = split_path(path).second;
  return name.empty() || name == "." || name == ".." ? otherwise : name;
}

}  // namespace lora
