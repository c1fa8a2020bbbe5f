#include "base/path.h"

#include <algorithm>

namespace lora {
namespace {

// Where the name begins.
size_t begin_of_name(std::string_view path) {
  const auto last = std::find_if(path.rbegin(), path.rend(), is_separator);
  return std::max(root_size(path), size_t(path.rend() - last));
}

}  // namespace

std::pair<std::string, std::string> split_path(const std::string& path) {
  const size_t name = begin_of_name(path);
  return {path.substr(0, name), path.substr(name)};
}

std::string folder_of(const std::string& path) {
  size_t end = begin_of_name(path);
  if (end == 0) return ".";
  if (end > root_size(path)) --end;
  return path.substr(0, end);
}

std::string last_part_of(std::string path, const std::string& otherwise) {
  const std::string name = split_path(without_last_separators(std::move(path))).second;
  return name.empty() || name == "." || name == ".." ? otherwise : name;
}

std::string without_last_separators(std::string path) {
  while (path.size() > std::max<size_t>(1, root_size(path)) && is_separator(path.back())) path.pop_back();
  return path;
}

std::string path_in(const std::string& folder, std::string_view name) {
  const bool is_whole = folder.empty() || is_separator(folder.back());
  return (folder + (is_whole ? "" : "/")).append(name);
}

std::string without_ending(std::string name) {
  const size_t dot = name.rfind('.');
  if (dot != name.npos && dot > 0 && name != "..") name.resize(dot);
  return name;
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.find_first_of("/\\:") == name.npos && name != "." && name != "..";
}

}  // namespace lora
