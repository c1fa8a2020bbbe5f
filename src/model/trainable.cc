#include "model/trainable.h"

#include <algorithm>

#include "base/error.h"
#include "model/model.h"

namespace lora {

Trainable what_can_be_trained(const std::string& path, const Gguf& gguf) {
  Trainable result;
  result.architecture = gguf.get_string("general.architecture").value_or("");
  if (const Architecture* found = find_architecture(result.architecture)) result.models = found->models;
  try {
    const Model model = load_model(path);
    const std::vector<std::string_view> routed = routed_tensors(model);
    for (const std::string_view name : block_tensors(model)) {
      const bool is_routed = std::ranges::find(routed, name) != routed.end();
      (is_routed ? result.others : result.linear_layers).emplace_back(name);
    }
    result.others.emplace_back("token_embd");
    if (!model.tied) result.others.emplace_back("output");
    for (const Layer& layer : model.layers) {
      for_each_norm(layer, [&](const Norm& norm) {
        if (std::ranges::find(result.others, norm.tensor) == result.others.end())
          result.others.emplace_back(norm.tensor);
      });
    }
    if (!model.output_norm.tensor.empty()) result.others.emplace_back(model.output_norm.tensor);
  } catch (const Error& error) {
    result.refused = error.what();
  }
  return result;
}

}  // namespace lora
