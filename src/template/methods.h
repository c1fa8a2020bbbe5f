// What can be called on a str, a list, a tuple, a dict.
#pragma once

#include <span>
#include <string_view>

#include "template/native.h"

namespace lora::jinja {

struct Method {
  std::string_view name;
  Parameters parameters;
  size_t required;
  Value (*run)(Call& call);
  bool is_refused = false;  // it would change its object, which the sandbox refuses
};

std::span<const Method> string_methods();
std::span<const Method> list_methods();
std::span<const Method> dict_methods();
inline const Method* find_method(std::span<const Method> methods, std::string_view name) {
  return find_row(methods, name);
}

Value call_method(Interpreter& interpreter, const Value& self, const Method& method, Arguments& arguments);
// self.method, not called yet.
Value bound_method(const Value& self, const Method& method);

}  // namespace lora::jinja
