// Adapters in training: which tensors get one, their start values, and their place in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/adapter.h"
#include "base/buffer.h"
#include "model/model.h"

namespace lora {

// Ranks by name of tensor, without "blk.N." before and ".weight" behind: "attn_q", "token_embd". A norm's
// pair is a change of its gain, with n_out = 1; only checkpoints keep it.
using Ranks = std::map<std::string, int64_t, std::less<>>;

// "attn_q" of "blk.3.attn_q.weight", "output" of "output.weight".
std::string_view part_name(std::string_view tensor);

// As the guide of 2023 spells some of them: --rank-FLAG.
struct RankFlag {
  std::string_view flag;  // "wq"
  std::string_view tensor;
};
std::span<const RankFlag> rank_flags();
// "--rank-wq" of "attn_q", "--rank attn_qkv" of what has no such spelling.
std::string rank_flag_of(std::string_view tensor);

// Those given, and `otherwise` for every other linear layer of the model's blocks but routers and experts.
// Error for a name that the model has none of, with those that it has. `flag_of`: what messages call the rank
// of a tensor.
Ranks ranks_of(const Model& model, const Ranks& given, int64_t otherwise,
               const std::function<std::string(std::string_view tensor)>& flag_of = rank_flag_of);

// The trained pairs' values, gradients and optimizer moments, each one flat array in the same order, so
// that the optimizer and the gradient's norm are one loop.
struct LoraParameters {
  struct Pair {
    std::string base;  // "blk.0.attn_q.weight"
    int64_t n_in, n_out, rank;
    int64_t a, b;          // where A (n_slices, rank, n_in) and B (n_slices, n_out, rank) begin
    int64_t n_slices = 1;  // of a tensor that is a stack of matrices, a pair each

    int64_t a_size() const { return n_slices * rank * n_in; }
    int64_t b_size() const { return n_slices * n_out * rank; }
    bool is_norm() const { return base.ends_with("_norm.weight"); }
  };
  std::vector<Pair> pairs;
  float alpha = 0;
  bool rslora = false;
  float dropout = 0;  // of the inputs of linear layers' adapters, while they are trained
  Buffer<float> values, gradients, m, v;

  // alpha / rank, with rslora alpha / sqrt(rank) (Kalajdzievski, "A Rank Stabilization Scaling Factor for
  // Fine-Tuning with LoRA", 2023); 1 if alpha is 0.
  float scale(const Pair& pair) const;
  int64_t n_values() const;      // trained numbers
  int64_t memory_bytes() const;  // of the four arrays
};

// Whether the model has a tensor of that name to train, in one of these blocks (`layers` as below) or none.
bool has_tensor(const Model& model, std::string_view name, std::span<const int64_t> layers);

// ranks: of tensors that the model has (ranks_of), 0 leaves them alone. layers: the blocks that get pairs,
// empty: all. A: Kaiming uniform, U(-1/sqrt(n_in), 1/sqrt(n_in)), each tensor from its own random stream; B:
// zero, so that the model starts unchanged. Error if nothing would be trained, or a tensor is not in the
// model (a tied output).
LoraParameters make_parameters(const Model& model, const Ranks& ranks, float alpha, uint64_t seed,
                               bool rslora = false, std::span<const int64_t> layers = {});

// About what they will take (values, gradients and moments), before anything is allocated.
int64_t parameter_bytes(const Model& model, const Ranks& ranks, std::span<const int64_t> layers = {});

// The pairs, ranks, alpha and values of an adapter (checked against the model by read_adapter). With rslora
// B is divided by what to_adapter() multiplies it with.
LoraParameters make_parameters(const Adapter& adapter, bool rslora = false);

// Pairs with a base, shape and rank each, all values zero.
LoraParameters make_parameters(std::vector<LoraParameters::Pair> pairs, float alpha, bool rslora);

// Lets the model compute with the parameters and add to their gradients. They must outlive it. Pairs of norms
// are left to TrainedNorms.
void attach(Model& model, LoraParameters& parameters);

// The same as long as it lives; then the model is without them again, however its scope was left.
class Attached {
 public:
  Attached(Model& model, LoraParameters& parameters);
  ~Attached();
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;

 private:
  std::vector<std::vector<LoraView>*> changed_;
};

// Lets the model compute with an adapter, at user_scale times its own scale. It must outlive the model.
void attach(Model& model, const Adapter& adapter, float user_scale);

// The values as an adapter, for writing: without pairs of norms, and with the scale of rslora folded into B,
// so that alpha / rank is right for every loader.
Adapter to_adapter(const LoraParameters& parameters, const Model& model);

}  // namespace lora
