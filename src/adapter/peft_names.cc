#include "adapter/peft_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>

namespace lora {
namespace {

// The module named so that a LoRA may sit on: one with a matrix.
const HfModule* find_module(std::span<const HfModule> modules, std::string_view hf) {
  const auto found = std::find_if(modules.begin(), modules.end(),
                                  [&](const HfModule& m) { return m.hf == hf && m.n_out != Dim::none; });
  return found == modules.end() ? nullptr : &*found;
}

const HfModule* find_module(const HfArchitecture& arch, std::string_view hf) {
  for (const auto& modules : arch.layer) {
    if (const HfModule* found = find_module(modules, hf)) return found;
  }
  return nullptr;
}

bool remove_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace

bool peft_knows(std::string_view architecture) {
  return find_hf_architecture(architecture) != nullptr;
}

std::optional<PeftTarget> peft_target(std::string_view architecture, std::string_view module) {
  const HfArchitecture* arch = find_hf_architecture(architecture);
  if (arch == nullptr) return std::nullopt;
  remove_prefix(module, "model.");  // absent where the adapter sits on a model without a head
  if (!remove_prefix(module, "layers.")) {
    const HfModule* root = find_module(hf_root_modules(), module);
    if (root == nullptr) return std::nullopt;
    return PeftTarget{fmt::format("{}.weight", root->gguf), RowOrder::as_is};
  }
  uint32_t layer = 0;
  const auto [end, error] = std::from_chars(module.data(), module.data() + module.size(), layer);
  module.remove_prefix(size_t(end - module.data()));
  if (error != std::errc() || !remove_prefix(module, ".")) return std::nullopt;
  const HfModule* found = find_module(*arch, module);
  if (found == nullptr) return std::nullopt;
  return PeftTarget{fmt::format("blk.{}.{}.weight", layer, found->gguf),
                    arch->reorders_heads ? found->order : RowOrder::as_is};
}

}  // namespace lora
