// How many parallel loops (base/parallel.h) the calling thread has shared with others, and the seconds that
// they took.
#pragma once

#include <cstdint>

namespace lora {

struct Loops {
  int64_t n = 0;
  double seconds = 0;
};
Loops loops_so_far();

}  // namespace lora
