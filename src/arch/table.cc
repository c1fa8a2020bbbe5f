// All families: a file and a row each.
#include <algorithm>

#include "arch/architecture.h"

namespace lora {

extern const Architecture kArcee, kBaichuan, kBailingMoe, kCohere2, kCommandR, kDeepSeek2, kDots1, kErnie45,
    kErnie45Moe, kExaone4, kFalcon, kGemma, kGemma2, kGemma3, kGemma4, kGlm4, kGlm4Moe, kGpt2, kGptNeoX,
    kGptOss, kGranite, kGraniteMoe, kHunyuanDense, kHunyuanMoe, kInternLm2, kLfm2, kLfm2Moe, kLlama, kMiniCpm,
    kMistral3, kNemotron, kOlmo, kOlmo2, kOlmoe, kPhi2, kPhi3, kQwen2, kQwen2Moe, kQwen3, kQwen35, kQwen35Moe,
    kQwen3Moe, kQwen3Next, kSeedOss, kSmolLm3, kStableLm, kStarCoder2, kGraniteHybrid, kFalconH1, kMamba2,
    kNemotronH;

std::span<const Architecture* const> architectures() {
  static const Architecture* const rows[] = {
      &kArcee,      &kBaichuan,     &kBailingMoe, &kCohere2,   &kCommandR,   &kDeepSeek2,     &kDots1,
      &kErnie45,    &kErnie45Moe,   &kExaone4,    &kFalcon,    &kGemma,      &kGemma2,        &kGemma3,
      &kGemma4,     &kGlm4,         &kGlm4Moe,    &kGpt2,      &kGptNeoX,    &kGptOss,        &kGranite,
      &kGraniteMoe, &kHunyuanDense, &kHunyuanMoe, &kInternLm2, &kLfm2,       &kLfm2Moe,       &kLlama,
      &kMiniCpm,    &kMistral3,     &kNemotron,   &kOlmo,      &kOlmo2,      &kOlmoe,         &kPhi2,
      &kPhi3,       &kQwen2,        &kQwen2Moe,   &kQwen3,     &kQwen35,     &kQwen35Moe,     &kQwen3Moe,
      &kQwen3Next,  &kSeedOss,      &kSmolLm3,    &kStableLm,  &kStarCoder2, &kGraniteHybrid, &kFalconH1,
      &kMamba2,     &kNemotronH,
  };
  return rows;
}

std::span<const NotComputed> not_computed() {
  constexpr std::string_view kMamba1 = "layers of Mamba-1 are not computed";
  constexpr std::string_view kRwkv = "RWKV's layers are not computed";
  static constexpr NotComputed rows[] = {
      {"gemma3n", "Gemma3nForCausalLM Gemma3nForConditionalGeneration Gemma3nTextModel", "Gemma 3n",
       "parallel residual streams (AltUp) are not computed"},
      {"nemotron_h_moe", "", "Nemotron-H with experts (Nemotron 3 Nano)",
       "experts in layers of their own are not computed"},
      {"", "BambaForCausalLM", "Bamba",
       "attention that turns a part of heads beside Mamba-2 is not computed"},
      {"jamba", "JambaForCausalLM", "Jamba", kMamba1},
      {"mamba", "MambaForCausalLM FalconMambaForCausalLM", "Mamba, Falcon Mamba", kMamba1},
      {"rwkv6", "Rwkv6ForCausalLM", "RWKV 6", kRwkv},
      {"rwkv7", "Rwkv7ForCausalLM RWKV7ForCausalLM", "RWKV 7", kRwkv},
      {"kimi-linear", "KimiLinearForCausalLM", "Kimi Linear",
       "a gate for each column of a delta net's keys is not computed"},
  };
  return rows;
}

const NotComputed* find_not_computed(std::string_view name) {
  for (const NotComputed& row : not_computed()) {
    if (!name.empty() && row.name == name) return &row;
    for (std::string_view classes = row.classes; !classes.empty();) {
      const size_t end = std::min(classes.find(' '), classes.size());
      if (classes.substr(0, end) == name) return &row;
      classes.remove_prefix(std::min(end + 1, classes.size()));
    }
  }
  return nullptr;
}

const Architecture* find_architecture(std::string_view name) {
  const auto rows = architectures();
  const auto found = std::ranges::find(rows, name, &Architecture::name);
  return found == rows.end() ? nullptr : *found;
}

}  // namespace lora
