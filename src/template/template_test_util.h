// What the tests of templates share.
#pragma once

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "template/template.h"

namespace lora::jinja {

inline constexpr Date kTestDate{2026, 11, 28, 12, 0, 0};

inline std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + " cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

inline Rendered render(const Template& program, const nlohmann::ordered_json& variables) {
  std::vector<Variable> given;
  for (auto it = variables.begin(); it != variables.end(); ++it)
    given.push_back({it.key(), from_json(it.value())});
  return program.render(given, kTestDate);
}

// {"text": ...} or {"error": "TYPE: MESSAGE"}, as the files of expected outcomes have them.
inline nlohmann::ordered_json outcome(const Template& program, const nlohmann::ordered_json& variables) {
  try {
    return {{"text", render(program, variables).text}};
  } catch (const TemplateError& error) {
    return {{"error", error.type() + ": " + error.message()}};
  }
}
inline nlohmann::ordered_json outcome(const std::string& source, const nlohmann::ordered_json& variables) {
  try {
    return outcome(Template(source), variables);
  } catch (const TemplateError& error) {
    return {{"error", error.type() + ": " + error.message()}};
  }
}

}  // namespace lora::jinja
