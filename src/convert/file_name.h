// Names that outputs get by default.
#pragma once

#include <string>
#include <string_view>

namespace lora {

// The last part of a path, without a slash at its end: "models/tiny/" is "tiny". `otherwise` where it has
// none.
inline std::string last_part_of(std::string path, const std::string& otherwise) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const std::string name = path.substr(path.rfind('/') + 1);
  return name.empty() || name == "." || name == ".." ? otherwise : name;
}

}  // namespace lora
