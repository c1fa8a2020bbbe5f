// A noisy curve's course.
#pragma once

#include <cstdint>
#include <vector>

namespace lora::cli {

// The mean of `window` values around each, near ones counting more (weights fall to 0 at the window's ends).
// It does not lag: where the window shrinks, at the ends of `values`, the mean is moved along the slope
// there, so that what is straight stays as it is, to the last value. One or two values in a row that lie far
// outside what surrounds them are left out. A window below 3, or two values, change nothing. O(n window).
std::vector<double> smoothed(const std::vector<double>& values, int64_t window);

}  // namespace lora::cli
