#include "template/template.h"

#include <utility>

#include "base/printable.h"
#include "template/interpreter.h"
#include "template/parser.h"

namespace lora::jinja {

TemplateError::TemplateError(int line, std::string type, std::string message, bool hits_bound)
    : Error(message_line(fmt::format("line {}: {}", line, message))),
      line_(line),
      type_(std::move(type)),
      message_(std::move(message)),
      hits_bound_(hits_bound) {}

Template::Template(std::string_view source) {
  try {
    program_ = std::make_unique<const Program>(parse(source));
  } catch (const Raised& error) {
    throw TemplateError(error.line, error.type, error.message);
  }
}
Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

Rendered Template::render(std::span<const Variable> variables, const Date& now,
                          Beginnings* beginnings) const {
  return Interpreter(*program_, variables, now, beginnings).run();
}

}  // namespace lora::jinja
