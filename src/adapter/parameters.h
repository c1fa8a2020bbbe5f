// Adapters in training: which tensors get one, their start values, and their place in memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/adapter.h"
#include "base/buffer.h"
#include "model/model.h"

namespace lora {

// The kinds of tensors that can be trained, by the flag's name: --rank-NAME.
struct Target {
  std::string_view flag;    // "wq"
  std::string_view tensor;  // "attn_q", "blk.N." before and ".weight" behind; or a whole model's tensor
  bool per_layer;
};
std::span<const Target> targets();

// The trained pairs' values, gradients and optimizer moments, each one flat array in the same order, so
// that the optimizer and the gradient's norm are one loop.
struct LoraParameters {
  struct Pair {
    std::string base;  // "blk.0.attn_q.weight"
    int64_t n_in, n_out, rank;
    int64_t a, b;  // where A (rank, n_in) and B (n_out, rank) begin

    int64_t a_size() const { return rank * n_in; }
    int64_t b_size() const { return n_out * rank; }
  };
  std::vector<Pair> pairs;
  float alpha = 0;
  Buffer<float> values, gradients, m, v;

  int64_t n_values() const;      // trained numbers
  int64_t memory_bytes() const;  // of the four arrays
};

// ranks: one per row of targets(), 0 leaves its tensors alone. A: Kaiming uniform,
// U(-1/sqrt(n_in), 1/sqrt(n_in)), each tensor from its own random stream; B: zero, so that the model
// starts unchanged. Error if nothing would be trained, or a tensor is not in the model (a tied output).
LoraParameters make_parameters(const Model& model, std::span<const int64_t> ranks, float alpha,
                               uint64_t seed);

// About what they will take (values, gradients and moments), before anything is allocated.
int64_t parameter_bytes(const Model& model, std::span<const int64_t> ranks);

// The pairs, ranks, alpha and values of an adapter (checked against the model by read_adapter).
LoraParameters make_parameters(const Adapter& adapter);

// Lets the model compute with the parameters and add to their gradients. They must outlive it.
void attach(Model& model, LoraParameters& parameters);

// Lets the model compute with an adapter, at user_scale times its own scale. It must outlive the model.
void attach(Model& model, const Adapter& adapter, float user_scale);

// The values as an adapter, for writing.
Adapter to_adapter(const LoraParameters& parameters, const Model& model);

}  // namespace lora
