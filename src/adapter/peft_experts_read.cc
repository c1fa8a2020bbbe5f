#include "adapter/peft_experts_read.h"

#include <set>

#include "base/error.h"
#include "base/printable.h"

namespace lora {

std::string PeftExperts::add(const PeftTarget& target) {
  const std::string base = fmt::format("{}@{}", target.base, target.expert);
  expert_of_[base] = target;
  return base;
}

void PeftExperts::finish(Adapter& adapter, std::map<std::string, std::string>& module_of) const {
  if (!expert_of_.empty()) join_experts(adapter, module_of);
  if (!parameters_of_.empty()) take_parameters_apart(adapter, module_of);
}

// Whether a module, its name with ".base_layer" for each parameter that wraps it, has experts as
// parameters.
bool PeftExperts::find_parameters(const std::string& module) {
  constexpr std::string_view kInner = ".base_layer";
  std::string_view name = module;
  while (name.ends_with(kInner)) name.remove_suffix(kInner.size());
  std::vector<PeftParameter> found = peft_parameters(base_.architecture, name);
  const bool any = !found.empty();
  if (any) parameters_of_[module] = std::move(found);
  return any;
}

PairShape PeftExperts::shape_of(std::string_view tensor) const {
  const auto shape = base_.shape ? base_.shape(tensor) : std::nullopt;
  if (!shape) fail("{}: tensor {}: the model has no such tensor, or is not here", path_, printable(tensor));
  return *shape;
}

// Pairs of single experts become one of a stack.
void PeftExperts::join_experts(Adapter& adapter, std::map<std::string, std::string>& module_of) const {
  if (expert_of_.empty()) return;
  std::vector<LoraPair> pairs;
  std::map<std::string, std::vector<ExpertPair>> experts;
  for (LoraPair& pair : adapter.pairs) {
    const auto found = expert_of_.find(pair.base);
    if (found == expert_of_.end()) {
      pairs.push_back(std::move(pair));
      continue;
    }
    const auto& [stack, module, expert] = found->second;
    const PairShape shape = shape_of(stack);
    if (expert >= shape.n_slices || pair.n_in != shape.n_in || pair.n_out != shape.n_out) {
      fail("{}: module {}: {} x {}, the model has {} experts of {} x {}", path_,
           printable(module_of[pair.base]), pair.n_in, pair.n_out, shape.n_slices, shape.n_in, shape.n_out);
    }
    experts[stack].push_back({&pair, expert, config_.scale(module_of[pair.base])});
  }
  for (const auto& [stack, list] : experts) {
    module_of[stack] = module_of[list.front().pair->base];
    pairs.push_back(stack_pairs(stack, list, shape_of(stack).n_slices));
  }
  adapter.pairs = std::move(pairs);
}

// The parameter that a pair is of, by its sizes, and whether A and B have changed places.
std::pair<const PeftParameter*, bool> PeftExperts::parameter_of(const LoraPair& pair,
                                                                const std::string& what) const {
  const PeftParameter* found = nullptr;
  bool is_swapped = false;
  std::string sizes;
  for (const PeftParameter& one : parameters_of_.at(pair.base)) {
    const PairShape shape = shape_of(one.parts.front().base);
    sizes += fmt::format("{}{} x {} of {}", sizes.empty() ? "" : ", ", shape.n_in,
                         shape.n_out * int64_t(one.parts.size()), one.name);
    const bool fits = fits_parameter(pair, one, shape, false);
    const bool fits_swapped = fits_parameter(pair, one, shape, true);
    if (!fits && !fits_swapped) continue;
    found = &one;
    is_swapped = fits && fits_swapped ? swaps_sizes(what) : fits_swapped;
  }
  if (!found) fail("{}: expected {}, found {} x {}", what, sizes, pair.n_in, pair.n_out);
  return {found, is_swapped};
}

// Of square matrices, on which the version alone tells.
bool PeftExperts::swaps_sizes(const std::string& what) const {
  if (!config_.peft_version)
    fail("{}: its matrices are square, and without peft_version nothing tells A from B", what);
  return *config_.peft_version < std::pair<int64_t, int64_t>(0, 19);
}

// Of parameters with all experts, pairs of their tensors.
void PeftExperts::take_parameters_apart(Adapter& adapter,
                                        std::map<std::string, std::string>& module_of) const {
  if (parameters_of_.empty()) return;
  std::vector<LoraPair> pairs;
  std::set<std::string> names;  // of these
  const auto add = [&](LoraPair& pair, const std::string& module) {
    if (!names.insert(pair.base).second)
      fail("{}: module {}: {} has a LoRA already", path_, printable(module), pair.base);
    pairs.push_back(std::move(pair));
  };
  for (LoraPair& pair : adapter.pairs) {
    if (!parameters_of_.contains(pair.base)) {
      add(pair, module_of[pair.base]);
      continue;
    }
    const std::string what = fmt::format("{}: module {}", path_, printable(pair.base));
    const auto [parameter, is_swapped] = parameter_of(pair, what);
    const PairShape shape = shape_of(parameter->parts.front().base);
    const int64_t rank = config_.rank(parameter->path());
    if (pair.rank != rank * shape.n_slices) {
      fail("{}: expected rank {} for each of {} experts as in adapter_config.json, found {} in all", what,
           rank, shape.n_slices, pair.rank);
    }
    for (LoraPair& own : pairs_of_parameter(pair, *parameter, shape, is_swapped, what)) {
      module_of[own.base] = parameter->path();
      add(own, pair.base);
    }
  }
  adapter.pairs = std::move(pairs);
}

}  // namespace lora
