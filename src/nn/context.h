// What every layer needs to compute: threads, the input type of its products, and memory.
#pragma once

#include "base/arena.h"
#include "base/parallel.h"
#include "base/profile.h"
#include "kernels/gemm/gemm.h"

namespace lora {

struct NnContext {
  ThreadPool& pool;
  GemmInput input;       // what the multiply unit reads; sums are f32
  GemmScratch& scratch;  // per worker
  Arena& arena;          // per step
  Profile* profile = nullptr;
};

}  // namespace lora
