// LoRAs on the experts of a layer, which GGUF has as one pair of a stack of matrices.
//
// PEFT has them on a module for each expert, or on the parameter that holds all of them (target_parameters):
//   MODULE.lora_A.weight (n_expert r, n_in): row e r + k is the k-th of expert e
//   MODULE.lora_B.weight (n_out, r n_expert): column k n_expert + e is
// A module's parameters are wrapped one around the other, in their order: the name of the i-th of n has
// n - 1 - i times ".base_layer" before the ending. Which parameter a pair is of, its sizes tell. Versions
// before 0.19 took the rows of matrices for their columns, but where the matrices are stored transposed, so
// that A and B have changed places there.
//
// MLX has them on stacks: MODULE.lora_a (n_expert, r, n_in) or (n_expert r, n_in), .lora_b
// (n_expert, n_out, r).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/peft_names.h"
#include "adapter/pieces.h"

namespace lora {

// A parameter that is a stack of experts' matrices.
struct PeftParameter {
  std::string module, name;       // "model.layers.0.mlp.experts", "gate_up_proj"
  std::vector<PeftTarget> parts;  // the tensors of GGUF that have its rows
  bool is_transposed = false;     // (n_expert, n_in, n_out)
  std::string path() const { return module + "." + name; }
};
// All that a module has, in their order; none if it has no experts. Its name is without
// "base_model.model.", and may have other beginnings.
std::vector<PeftParameter> peft_parameters(std::string_view architecture, std::string_view module);
// The one that holds a tensor's matrices.
std::optional<PeftParameter> peft_parameter(std::string_view architecture, std::string_view base);

// The stack of GGUF that a module of MLX is ("model.layers.0.mlp.switch_mlp.gate_proj"); "" if it is none.
std::string mlx_stack(std::string_view architecture, std::string_view module);

// A pair as PEFT has it on a parameter, n_in and n_out as the two tensors say, rank as many as A has rows; to
// the pairs of GGUF's tensors. `shape`: of the first of them. is_swapped: by a version before 0.19. Error,
// beginning with `what`, if the sizes do not fit.
std::vector<LoraPair> pairs_of_parameter(const LoraPair& pair, const PeftParameter& parameter,
                                         const PairShape& shape, bool is_swapped, const std::string& what);
// Whether the sizes of a pair are those of a parameter, as written by versions before 0.19 or not.
bool fits_parameter(const LoraPair& pair, const PeftParameter& parameter, const PairShape& shape,
                    bool is_swapped);

// The other way round, with rank n_expert r; `pair` is of the whole parameter.
LoraPair parameter_pair(const LoraPair& pair);

// One expert's pair.
struct ExpertPair {
  const LoraPair* pair = nullptr;
  int64_t expert = 0;
  double scale = 1;  // of its B A
};
// A stack of them, with the scale of the first. Experts without a pair have zeros, ranks become that of the
// largest.
LoraPair stack_pairs(const std::string& base, std::span<const ExpertPair> pairs, int64_t n_expert);

}  // namespace lora
