// The tests, value is name(argument).
#pragma once

#include <string_view>

#include "template/native.h"

namespace lora::jinja {

struct Test {
  std::string_view name;
  Parameters parameters;
  size_t required;
  bool (*run)(Call& call);
};

const Test* find_test(std::string_view name);  // null where there is none
bool call_test(Interpreter& interpreter, const Test& test, const Value& value, Arguments& arguments);

}  // namespace lora::jinja
