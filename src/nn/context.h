// What every layer needs to compute: threads, the input type of its products, and memory.
#pragma once

#include <cstdint>
#include <optional>

#include "base/arena.h"
#include "base/parallel.h"
#include "base/profile.h"
#include "kernels/dot/dot.h"
#include "kernels/gemm/gemm.h"

namespace lora {

struct NnContext {
  ThreadPool& pool;
  GemmInput input;       // what the multiply unit reads; sums are f32
  GemmScratch& scratch;  // per worker
  Arena& arena;          // per step
  Profile* profile = nullptr;
  DotInput dot = DotInput::f32;  // of a few tokens; rounding is for generation, which needs no gradients
  // While adapters are trained with dropout, what their masks are drawn from; else nothing is dropped.
  std::optional<uint64_t> dropout_key = {};
};

}  // namespace lora
