// How far numbers are from those of a reference.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>

namespace lora {

// The norm of the difference over the norm of what is wanted.
inline double relative_difference(std::span<const float> got, std::span<const float> want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += (double(got[i]) - want[i]) * (double(got[i]) - want[i]);
    norm += double(want[i]) * want[i];
  }
  return std::sqrt(difference / norm);
}

}  // namespace lora
