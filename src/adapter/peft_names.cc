#include "adapter/peft_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>

namespace lora {
namespace {

struct Module {
  std::string_view hf;    // in a layer: behind "layers.N."
  std::string_view gguf;  // in a layer: between "blk.N." and ".weight"
  RowOrder order = RowOrder::as_is;
};

constexpr Module kLayerModules[] = {
    {"self_attn.q_proj", "attn_q", RowOrder::heads},
    {"self_attn.k_proj", "attn_k", RowOrder::kv_heads},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};
constexpr Module kRootModules[] = {{"embed_tokens", "token_embd"}, {"lm_head", "output"}};

struct Architecture {
  std::string_view name;
  bool reorders_heads;  // its conversion brings rotary pairs of q and k together
  std::span<const Module> layer;
};
constexpr Architecture kArchitectures[] = {{"llama", true, kLayerModules}};

const Architecture* find_architecture(std::string_view name) {
  const auto found = std::find_if(std::begin(kArchitectures), std::end(kArchitectures),
                                  [&](const Architecture& a) { return a.name == name; });
  return found == std::end(kArchitectures) ? nullptr : found;
}

const Module* find_module(std::span<const Module> modules, std::string_view hf) {
  const auto found =
      std::find_if(modules.begin(), modules.end(), [&](const Module& m) { return m.hf == hf; });
  return found == modules.end() ? nullptr : &*found;
}

bool remove_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace

bool peft_knows(std::string_view architecture) {
  return find_architecture(architecture) != nullptr;
}

std::optional<PeftTarget> peft_target(std::string_view architecture, std::string_view module) {
  const Architecture* arch = find_architecture(architecture);
  if (arch == nullptr) return std::nullopt;
  remove_prefix(module, "model.");  // absent where the adapter sits on a model without a head
  if (!remove_prefix(module, "layers.")) {
    const Module* root = find_module(kRootModules, module);
    if (root == nullptr) return std::nullopt;
    return PeftTarget{fmt::format("{}.weight", root->gguf), RowOrder::as_is};
  }
  uint32_t layer = 0;
  const auto [end, error] = std::from_chars(module.data(), module.data() + module.size(), layer);
  module.remove_prefix(size_t(end - module.data()));
  if (error != std::errc() || !remove_prefix(module, ".")) return std::nullopt;
  const Module* found = find_module(arch->layer, module);
  if (found == nullptr) return std::nullopt;
  return PeftTarget{fmt::format("blk.{}.{}.weight", layer, found->gguf),
                    arch->reorders_heads ? found->order : RowOrder::as_is};
}

}  // namespace lora
