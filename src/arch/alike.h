// Tensors that files may lack.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "arch/config.h"

namespace lora {

struct LostTensor {
  std::string name, elsewhere;  // what is missing, and the same of another layer, which is there
};

// The first tensor that some of the layers with a place for it have and others lack: no model is made so, and
// without it another function is computed. has: whether there is a tensor of that name.
std::optional<LostTensor> find_lost(const ModelConfig& config,
                                    const std::function<bool(const std::string&)>& has);

}  // namespace lora
