#include "gguf/part_name.h"

#include <fmt/format.h>

#include "base/numbers.h"

namespace lora {
namespace {

std::optional<int64_t> five_digits(std::string_view text) {
  if (text.size() != 5 || text[0] == '-') return std::nullopt;
  return number_in<int64_t>(text);
}

}  // namespace

std::optional<PartName> parse_part_name(std::string_view path) {
  constexpr std::string_view shape = "-00001-of-00003.gguf";
  if (path.size() < shape.size()) return std::nullopt;
  const std::string_view end = path.substr(path.size() - shape.size());
  const auto number = five_digits(end.substr(1, 5)), count = five_digits(end.substr(10, 5));
  if (end[0] != '-' || end.substr(6, 4) != "-of-" || end.substr(15) != ".gguf" || !number || !count)
    return std::nullopt;
  return PartName{std::string(path.substr(0, path.size() - shape.size())), *number, *count};
}

std::string part_path(const PartName& name) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", name.prefix, name.number, name.count);
}

std::vector<std::string> files_of(const Gguf& model) {
  auto name = parse_part_name(model.path());
  if (!name || model.get_int("split.count").value_or(1) <= 1) return {model.path()};
  std::vector<std::string> paths;
  for (name->number = 1; name->number <= name->count; ++name->number) paths.push_back(part_path(*name));
  return paths;
}

}  // namespace lora
