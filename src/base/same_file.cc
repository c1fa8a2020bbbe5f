#include "base/same_file.h"

#include "base/error.h"
#include "base/file.h"
#include "base/file_status.h"
#include "base/path.h"

namespace lora {

bool same_file(const std::string& a, const std::string& b) {
  const auto number = file_identity(a);
  if (number && number == file_identity(b)) return true;
  return fold_case(absolute_path(a)) == fold_case(absolute_path(b));
}

bool lies_in(const std::string& path, const std::string& folder) {
  return is_directory(folder) &&
         fold_case(real_path(path)).starts_with(fold_case(path_in(real_path(folder), "")));
}

std::string replaced_by(const std::string& out, const std::string& input) {
  if (input.empty()) return "";
  const auto destroys = [&](const std::string& file) {
    return same_file(out, file) || (is_temporary_of(out, file) && same_file(folder_of(out), folder_of(file)));
  };
  if (destroys(input)) return input;
  if (!is_directory(input)) return "";
  for (const std::string& name : files_in(input)) {
    const std::string file = path_in(input, name);
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
