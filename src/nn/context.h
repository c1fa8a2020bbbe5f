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
#include "nn/arithmetic.h"

namespace lora {

struct Linear;

// Least tokens whose logits exist at a time, and most: as many as share one decoding of the weights.
inline constexpr int64_t kHeadTokens = 128, kMostHeadTokens = 512;

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
  // While adapters are trained, what dropout's masks and the rounding of gradients are drawn from; else
  // nothing is dropped, and gradients are rounded to the nearest.
  std::optional<uint64_t> random_key = {};
  LinearObserver observe = {};
  // Told of weights of experts, once they are chosen, in the order in which they compute.
  std::function<void(const MatrixView& w)> will_read = {};
  std::optional<EmbeddingNoise> noise = {};
  // In training: frozen weights that have such products go in 8-bit integers, forward and back.
  bool int8 = false;
  bool fine_gradients = false;  // Arithmetic::fine_gradients
  // The number of a call's first row in its pass, where a layer is called for some rows at a time: each
  // rounds its gradients by numbers of its own.
  int64_t first_row = 0;
  // Tokens whose logits exist at a time: a multiple of kHeadTokens, any gives the same bits.
  int64_t head_tokens = kHeadTokens;
};

// The same context for what shall not be rounded to 8 bits in training.
inline NnContext in_floats(const NnContext& nn) {
  NnContext result = nn;
  result.int8 = false;
  return result;
}

}  // namespace lora
