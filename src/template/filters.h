// The filters, value | name(arguments).
#pragma once

#include <span>
#include <string_view>

#include "template/native.h"

namespace lora::jinja {

struct Filter {
  std::string_view name;
  Parameters parameters;
  size_t required;
  Value (*run)(Call& call);
};

std::span<const Filter> text_filters();
std::span<const Filter> list_filters();
const Filter* find_filter(std::string_view name);  // null where there is none
Value call_filter(Interpreter& interpreter, const Filter& filter, const Value& value, Arguments& arguments);

}  // namespace lora::jinja
