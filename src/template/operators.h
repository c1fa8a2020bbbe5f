// Python's operators on values. What they do not fit raises TypeError in Python's words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "template/objects.h"
#include "template/tree.h"
#include "template/value.h"

namespace lora::jinja {

std::string_view type_name(const Value& value);  // "str", "NoneType", ...
bool is_number(const Value& value);              // bool too
double as_real(const Value& number);

bool truth(const Value& value);
bool equal(const Value& a, const Value& b);
bool same(const Value& a, const Value& b);  // `is`
// Raises where the two have no order; `symbol` is the operator that the message names.
bool less(const Value& a, const Value& b, std::string_view symbol = "<");
bool less_or_equal(const Value& a, const Value& b, std::string_view symbol = "<=");
bool contains(const Value& container, const Value& value);
bool compare(Op op, const Value& a, const Value& b);
Value arithmetic(Op op, const Value& a, const Value& b);
Value negate(const Value& value);
Value plus(const Value& value);

// What a loop goes through: the list itself, a dict's keys, a text's characters, of a generator what it has
// left. Raises where the value cannot be iterated.
Value items_of(const Value& value);
bool is_iterable(const Value& value);
int64_t length(const Value& value);

// owner.name and owner[key], as Jinja looks them up in the sandbox; undefined where there is nothing.
Value attribute_of(const Value& owner, const Value& name);
Value item_of(const Value& owner, const Value& key);
Value own_attribute_of(const Value& owner, const Value& name);  // no key of a dict
Value slice_of(const Value& owner, const Value& start, const Value& stop, const Value& step);

// An index from a value that Python takes as one; raises TypeError.
int64_t as_index(const Value& value, std::string_view what);

std::string percent_format(std::string_view format, const Value& values);       // format % values
std::string brace_format(std::string_view format, const Arguments& arguments);  // format.format(...)

}  // namespace lora::jinja
