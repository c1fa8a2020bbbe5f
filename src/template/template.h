// Chat templates are programs in Jinja; this runs them. The language is Python's Jinja as the library
// transformers sets it up: the immutable sandbox, trim_blocks, lstrip_blocks, break and continue, {%
// generation %}, raise_exception, strftime_now, and its own tojson. A template can do nothing but render,
// within bounds (meter.h).
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/date.h"
#include "base/error.h"
#include "template/value.h"

namespace lora::jinja {

struct Range {
  size_t begin, end;  // bytes
};

struct Rendered {
  std::string text;
  // What {% generation %} blocks put out, in order. A block within a block is part of the outer one's.
  std::vector<Range> generated;
  // A generation block's output went into a variable or through a filter: where it came out is not known.
  bool has_hidden_generation = false;
};

struct Variable {
  std::string_view name;
  Value value;
};

// What a rendering would be if a list had its first n items alone.
struct Beginning {
  size_t shared = 0, n_generated = 0;  // bytes and generation blocks that it has of the whole
  bool has_hidden_generation = false;
  std::optional<std::string> tail[2];  // what follows them: without, with the prompt; nullopt: not known
};
// Asks for the beginnings of a list that can be told from the rendering of the whole: where a template goes
// through it once, forwards, and looks at no item before it comes to it. `prompt`: a variable that is false.
struct Beginnings {
  std::string_view list, prompt;
  std::vector<Beginning> found;  // by the number of items
};

using Date = DateTime;  // what strftime_now writes, in local time

// What went wrong in a template. what() is one printable line, "line N: MESSAGE".
class TemplateError : public Error {
 public:
  TemplateError(int line, std::string type, std::string message, bool hits_bound = false);
  int line() const { return line_; }
  // Python's class of the error: "TemplateSyntaxError", "UndefinedError", "TypeError", ...; of
  // raise_exception(message) "TemplateError".
  const std::string& type() const { return type_; }
  // As raise_exception was given it, or as Python words it.
  const std::string& message() const { return message_; }
  // Whether the rendering would have used more steps or memory than it may, so that it took its time.
  bool hits_bound() const { return hits_bound_; }

 private:
  int line_;
  std::string type_, message_;
  bool hits_bound_;
};

struct Program;

class Template {
 public:
  // Throws TemplateError where the source is no template, or has a tag, filter or test that is not known.
  // What stands within an `if` and is not known is an error only when it is reached, as in Jinja.
  explicit Template(std::string_view source);
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  // Throws TemplateError. May be called in several threads at a time.
  Rendered render(std::span<const Variable> variables, const Date& now,
                  Beginnings* beginnings = nullptr) const;

 private:
  std::unique_ptr<const Program> program_;
};

}  // namespace lora::jinja
