// Strict reading of what stands after a flag: the whole text must be the value.
// Each function throws BadValue "expected ..., found '...'"; the caller names the flag.
#pragma once

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/size_text.h"

namespace lora::cli {

struct BadValue : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline constexpr int64_t kAnyCount = 2147483647;  // the upper bound of counts with no better one
inline constexpr int64_t kMaxThreads = 4096;

// A whole number in [min, max], decimal.
int64_t parse_integer(std::string_view text, int64_t min, int64_t max);

// Which numbers a flag allows.
struct NumberRange {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above_min = false;  // min itself is not allowed
  bool below_max = false;  // max itself is not allowed
};

// Whether it is a finite number, and nothing else.
bool is_number(std::string_view text);

// A finite number in the range.
double parse_number(std::string_view text, NumberRange range);

// Bytes: a number and, in any case, B, K M G T (or KiB ... TiB: powers of 1024) or KB ... TB (of 1000).
// At least 1. The other way round: format_size().
uint64_t parse_size(std::string_view text);

// true/on/yes/1 and false/off/no/0 in any case: the value of a switch in a config file.
bool parse_bool(std::string_view text);

}  // namespace lora::cli
