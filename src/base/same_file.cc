#include "base/same_file.h"

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/path.h"

namespace lora {
bool same_file(const std::string& a, const std::string& b) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::equivalent(a, b, error)) return true;
  return fs::absolute(a, error).lexically_normal() == fs::absolute(b, error).lexically_normal();
}

std::string replaced_by(const std::string& out, const std::string& input) {
  if (input.empty()) return "";
  const auto destroys = [&](const std::string& file) {
    return same_file(out, file) || (is_temporary_of(out, file) && same_file(folder_of(out), folder_of(file)));
  };
  if (destroys(input)) return input;
  if (!is_directory(input)) return "";
  for (const std::string& name : files_in(input)) {
    const std::string file = input + "/" + name;
    if (destroys(file)) return file;
  }
  return "";
}

void expect_new(const std::string& out, std::span<const std::string> inputs) {
  for (const std::string& input : inputs) {
    const std::string file = replaced_by(out, input);
    if (!file.empty()) fail("{}: the output would replace {}, which is read", out, file);
  }
}

Hold hold_new(const std::string& out, std::span<const std::string> inputs,
              const std::function<void(std::string_view)>& say) {
  expect_new(out, inputs);
  Hold hold(out);
  if (say && !hold.warning().empty()) say(hold.warning());
  return hold;
}

}  // namespace lora
