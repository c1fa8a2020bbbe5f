// The axes of a picture: where round numbers lie, and how numbers are written on it.
#pragma once

#include <string>
#include <vector>

namespace lora::cli {

// An axis from low to high, low < high; of a logarithmic one both are positive.
struct Scale {
  double low = 0, high = 1;
  bool log = false;
  // Where a value lies: 0 at low, 1 at high, beyond them outside.
  double share(double value) const;
};

struct Tick {
  double value;
  std::string text;  // "" of a minor one
};

// Ticks in [low, high], rising: every 1, 2 or 5 times a power of ten, so that at most about n are major;
// minor ones divide them. On a logarithmic axis the majors are powers of ten, and their 2 and 5 times where
// there is room; an axis that is too short for these has a linear one's. whole: no tick between whole
// numbers.
std::vector<Tick> ticks(const Scale& scale, int n, bool whole = false);

// Four digits of a value, three of a small one: 2.451, 12.35, 0.00287, 3e-5, 12.35k, 1.2M.
std::string number_text(double value);

}  // namespace lora::cli
