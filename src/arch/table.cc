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

const Architecture* find_architecture(std::string_view name) {
  const auto rows = architectures();
  const auto found = std::ranges::find(rows, name, &Architecture::name);
  return found == rows.end() ? nullptr : *found;
}

}  // namespace lora
