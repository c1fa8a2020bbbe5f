// What every layer needs to compute: threads, the input type of its products, and memory.
#pragma once

#include <cstdint>
#include <functional>

#include "base/arena.h"
#include "base/parallel.h"
#include "kernels/gemm/gemm.h"

namespace lora {

struct Linear;

// Sees what goes into a linear layer in the forward pass. x: (n_tokens, n_in).
using LinearObserver = std::function<void(const Linear& layer, const float* x, int64_t n_tokens)>;

struct NnContext {
  ThreadPool& pool;
  GemmInput input;       // what the multiply unit reads; sums are f32
  GemmScratch& scratch;  // per worker
  Arena& arena;          // per step
  LinearObserver observe = {};
};

}  // namespace lora
