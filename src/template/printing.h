// How values are written: str(), repr(), json.dumps().
#pragma once

#include <string>
#include <string_view>

#include "template/value.h"

namespace lora::jinja {

void append_str(std::string& out, const Value& value);
std::string str(const Value& value);
std::string repr(const Value& value);
std::string real_repr(double value);
std::string quoted(std::string_view text);  // repr of a str

struct JsonStyle {
  bool ascii = false;
  bool sort_keys = false;
  bool has_indent = false;
  std::string indent;  // of one level
  std::string item_separator = ", ", key_separator = ": ";
};
// Raises TypeError where a value is none of JSON's.
std::string to_json(const Value& value, const JsonStyle& style);

std::string escape_html(std::string_view text);

}  // namespace lora::jinja
