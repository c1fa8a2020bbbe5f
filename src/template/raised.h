// A Python exception on its way out of a template.
#pragma once

#include <fmt/format.h>

#include <exception>
#include <string>
#include <utility>

namespace lora::jinja {

struct Raised : std::exception {
  Raised(const char* python_type, std::string text) : type(python_type), message(std::move(text)) {}
  const char* what() const noexcept override { return message.c_str(); }
  const char* type;
  std::string message;
  int line = 0;             // of the template, where it is known
  bool hits_bound = false;  // the rendering would use more than it may (meter.h)
};

template <class... Args>
[[noreturn]] void raise(const char* type, fmt::format_string<Args...> format, Args&&... args) {
  throw Raised(type, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace lora::jinja
