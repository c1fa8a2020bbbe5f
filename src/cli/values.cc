#include "cli/values.h"

#include <fmt/format.h>

#include <cmath>

#include "base/ascii.h"
#include "base/numbers.h"

namespace lora::cli {

namespace {

std::string range_text(const NumberRange& r) {
  const bool has_min = std::isfinite(r.min), has_max = std::isfinite(r.max);
  std::string text = "a number";
  if (has_min) text += fmt::format(" {} {}", r.above_min ? "above" : "of at least", r.min);
  if (has_min && has_max) text += " and";
  if (has_max) text += fmt::format(" {} {}", r.below_max ? "below" : "of at most", r.max);
  return text;
}

// Suffixes of sizes, in lower case.
struct SizeUnit {
  std::string_view name;
  double bytes;
};
constexpr SizeUnit kUnits[] = {{"", 1},         {"b", 1},        {"k", 0x1p10},   {"kib", 0x1p10},
                               {"kb", 1e3},     {"m", 0x1p20},   {"mib", 0x1p20}, {"mb", 1e6},
                               {"g", 0x1p30},   {"gib", 0x1p30}, {"gb", 1e9},     {"t", 0x1p40},
                               {"tib", 0x1p40}, {"tb", 1e12}};

// "+0.5" is 0.5.
std::string_view without_plus(std::string_view text) {
  return text.size() > 1 && text[0] == '+' && text[1] != '-' ? text.substr(1) : text;
}

}  // namespace

int64_t parse_integer(std::string_view text, int64_t min, int64_t max) {
  if (const auto value = number_in<int64_t>(text); value && *value >= min && *value <= max) return *value;
  throw BadValue(max == std::numeric_limits<int64_t>::max()
                     ? fmt::format("expected a whole number of at least {}, found '{}'", min, text)
                     : fmt::format("expected a whole number from {} to {}, found '{}'", min, max, text));
}

bool is_number(std::string_view text) {
  const auto value = number_in<double>(without_plus(text));
  return value && std::isfinite(*value);
}

double parse_number(std::string_view text, NumberRange range) {
  const double value = number_in<double>(without_plus(text)).value_or(NAN);
  const bool above = range.above_min ? value > range.min : value >= range.min;
  const bool below = range.below_max ? value < range.max : value <= range.max;
  if (std::isfinite(value) && above && below) return value;
  throw BadValue(fmt::format("expected {}, found '{}'", range_text(range), text));
}

uint64_t parse_size(std::string_view text) {
  const size_t digits = text.find_first_not_of("0123456789.");
  const std::string_view number = text.substr(0, digits);
  std::string unit = digits == std::string_view::npos ? "" : lower_case(text.substr(digits));
  if (!unit.empty() && unit.front() == ' ') unit.erase(0, 1);
  if (const auto value = number_in<double>(number)) {
    for (const SizeUnit& u : kUnits) {
      const double bytes = std::floor(*value * u.bytes);
      if (u.name == unit && bytes >= 1 && bytes < 0x1p63) return uint64_t(bytes);
    }
  }
  throw BadValue(fmt::format("expected a size such as 2GiB, 500MB or 1073741824, found '{}'", text));
}

bool parse_bool(std::string_view text) {
  const std::string lower = lower_case(text);
  for (const char* yes : {"true", "on", "yes", "1"}) {
    if (lower == yes) return true;
  }
  for (const char* no : {"false", "off", "no", "0"}) {
    if (lower == no) return false;
  }
  throw BadValue(fmt::format("expected true or false, found '{}'", text));
}

}  // namespace lora::cli
