#include "arch/alike.h"

#include <fmt/format.h>

#include <map>

#include "arch/spec.h"

namespace lora {
namespace {

// Of a layer's parts, those that files may lack.
struct MayLack {
  const std::function<void(const std::string&)>& visit;  // a name without "blk.N."

  void operator()(const NormSpec& norm) const {
    if (norm.kind == NormKind::layer && !norm.has_bias) visit(std::string(norm.tensor) + ".bias");
  }
  void operator()(const LinearSpec& linear) const {
    if (linear.may_be_absent) visit(std::string(linear.tensor) + ".weight");
    if (!linear.has_bias) visit(std::string(linear.tensor) + ".bias");
  }
  void operator()(const VectorSpec& vector) const {
    if (vector.may_be_absent) visit(std::string(vector.tensor));
  }
};

}  // namespace

std::optional<LostTensor> find_lost(const ModelConfig& config,
                                    const std::function<bool(const std::string&)>& has) {
  struct First {
    std::optional<std::string> there, missing;
  };
  std::map<std::string, First, std::less<>> firsts;
  for (int64_t i = 0; i < config.n_layer; ++i) {
    const std::function<void(const std::string&)> look = [&](const std::string& tensor) {
      const std::string name = fmt::format("blk.{}.{}", i, tensor);
      First& first = firsts[tensor];
      std::optional<std::string>& place = has(name) ? first.there : first.missing;
      if (!place) place = name;
    };
    for_each_part(config.architecture->layer(config, i), MayLack{look});
  }
  for (const auto& [tensor, first] : firsts) {
    if (first.there && first.missing) return LostTensor{*first.missing, *first.there};
  }
  return std::nullopt;
}

}  // namespace lora
