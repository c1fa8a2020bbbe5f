// What of a folder of PEFT sits on experts, until it is pairs of stacks (peft_experts.h).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapter/peft_config.h"
#include "adapter/peft_experts.h"

namespace lora {

class PeftExperts {
 public:
  // Which outlive it. path: of the tensors' file, for messages.
  PeftExperts(const std::string& path, const PeftConfig& config, const PeftBase& base)
      : path_(path), config_(config), base_(base) {}

  // What a pair on one expert is called until it is joined: BASE@EXPERT.
  std::string add(const PeftTarget& target);
  // Whether a module, its name with ".base_layer" for each parameter that wraps it, has experts as
  // parameters. Pairs on those are called as the module until they are taken apart.
  bool find_parameters(const std::string& module);
  bool is_parameter(const std::string& base) const { return parameters_of_.contains(base); }
  bool empty() const { return expert_of_.empty() && parameters_of_.empty(); }

  // Joins pairs of single experts, and takes those of parameters apart. module_of: by base, the module whose
  // rank and scale adapter_config.json says. Error naming the module if sizes or ranks do not fit.
  void finish(Adapter& adapter, std::map<std::string, std::string>& module_of) const;

 private:
  PairShape shape_of(std::string_view tensor) const;
  void join_experts(Adapter& adapter, std::map<std::string, std::string>& module_of) const;
  std::pair<const PeftParameter*, bool> parameter_of(const LoraPair& pair, const std::string& what) const;
  bool swaps_sizes(const std::string& what) const;
  void take_parameters_apart(Adapter& adapter, std::map<std::string, std::string>& module_of) const;

  const std::string& path_;
  const PeftConfig& config_;
  const PeftBase& base_;
  std::map<std::string, PeftTarget> expert_of_;
  std::map<std::string, std::vector<PeftParameter>> parameters_of_;  // by module with its .base_layer
};

}  // namespace lora
