// What every layer needs to compute: threads, the input type of its products, and memory.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/arena.h"
#include "base/parallel.h"
#include "base/profile.h"
#include "kernels/dot/dot.h"
#include "kernels/gemm/gemm.h"

namespace lora {

struct Linear;

// Sees what goes into a linear layer in the forward pass. x: (n_tokens, n_in).
using LinearObserver = std::function<void(const Linear& layer, const float* x, int64_t n_tokens)>;

// On embeddings while adapters are trained, a function of the key and of where a number stands (Jain et al.,
// "NEFTune: Noisy Embeddings Improve Instruction Finetuning", 2023).
struct EmbeddingNoise {
  float alpha = 0;
  uint64_t key = 0;
};

struct NnContext {
  ThreadPool& pool;
  GemmInput input;       // what the multiply unit reads; sums are f32
  GemmScratch& scratch;  // per worker
  Arena& arena;          // per step
  Profile* profile = nullptr;
  DotInput dot = DotInput::f32;  // of a few tokens; rounding is for generation, which needs no gradients
  // While adapters are trained with dropout, what their masks are drawn from; else nothing is dropped.
  std::optional<uint64_t> dropout_key = {};
  LinearObserver observe = {};
  std::optional<EmbeddingNoise> noise = {};
};

}  // namespace lora
