#include "convert/tensor_types.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"

namespace lora {

bool TensorType::names(std::string_view tensor) const {
  const std::optional<bool> found = pattern.matches(tensor);
  if (!found) fail("--tensor-type {}: too costly to match with '{}'", printable(text), printable(tensor));
  return *found;
}

void TensorTypes::add(std::string_view text) {
  const size_t sign = text.rfind('=');  // a pattern may hold others
  if (sign == text.npos || sign == 0) fail("expected PATTERN=TYPE, found '{}'", printable(text));
  const std::string expression(text.substr(0, sign));
  const auto pattern = Pattern::compile(expression, {.any_case = true});
  if (!pattern) fail("expected PATTERN=TYPE, '{}' is no regular expression", printable(expression));
  rows_.push_back({std::string(text), *pattern, encodable_type(text.substr(sign + 1))});
}

const TensorType* TensorTypes::find(std::string_view tensor) const {
  const auto row = std::ranges::find_if(rows_, [&](const TensorType& t) { return t.names(tensor); });
  return row == rows_.end() ? nullptr : &*row;
}

Type encodable_type(std::string_view name) {
  const TypeTraits* type = find_type(name);
  if (type && type->encode) return type->type;
  std::vector<std::string_view> names;
  for (const TypeTraits& t : all_types()) {
    if (t.encode) names.push_back(t.name);
  }
  fail("expected one of {}, found '{}'{}", fmt::join(names, " "), printable(name),
       type && type->decode ? ", which is read, not written" : "");
}

}  // namespace lora
