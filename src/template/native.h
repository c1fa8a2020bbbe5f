// Filters, tests and methods: a name, what it takes, what it does. Each kind has its table.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "template/objects.h"

namespace lora::jinja {

class Interpreter;

inline constexpr size_t kMostParameters = 5;
using Parameters = std::array<const char*, kMostParameters>;
inline constexpr Parameters kNone = {};
// One parameter of this name takes all arguments as they are.
inline constexpr const char* kAny = "*";
// Takes an argument by its place only.
inline constexpr const char* kUnnamed = "";

// A call with its arguments at their parameters' places; those not given are null.
class Call {
 public:
  // Raises TypeError where an argument is too much, unknown, given twice, or one of the first `required` is
  // missing.
  Call(Interpreter& interpreter, const Value& self, Arguments& arguments, const char* name,
       const Parameters& parameters, size_t required);

  Interpreter& interpreter;
  const Value& self;  // what the filter or test is applied to, or whose method it is
  Arguments& all;
  const char* const name;

  const Value* operator[](size_t i) const { return values_[i]; }
  bool has(size_t i) const { return values_[i] && !values_[i]->is(Kind::none); }
  // What the argument means, or what it means where it is not given or None. Raise TypeError.
  int64_t integer(size_t i, int64_t otherwise = 0) const;
  bool flag(size_t i, bool otherwise = false) const;
  std::string_view text(size_t i, std::string_view otherwise = {}) const;
  std::optional<std::string_view> maybe_text(size_t i) const;

 private:
  std::array<const Value*, kMostParameters> values_{};
};

// The row with that name, or null.
template <class Row>
const Row* find_row(std::span<const Row> rows, std::string_view name) {
  for (const Row& row : rows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace lora::jinja
