#include "kernels/isa.h"

#include <hwy/targets.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/machine.h"

namespace lora {
namespace {

struct Row {
  Isa isa;
  std::string_view name;
  bool (*supported)(const CpuFeatures&);
  uint64_t hwy_target;  // the Highway target its kernels dispatch to
};

constexpr Row kRows[] = {
    {Isa::scalar, "scalar", [](const CpuFeatures&) { return true; }, 0},
#if defined(__x86_64__)
#ifdef LORA_EMULATE_AVX_VNNI  // a test's build of this file
    {Isa::avx2, "avx_vnni_emulated", [](const CpuFeatures& f) { return f.avx512_vnni; }, HWY_AVX2},
#else
    {Isa::avx2, "avx2", [](const CpuFeatures& f) { return f.avx2; }, HWY_AVX2},
#endif
    {Isa::avx512, "avx512", [](const CpuFeatures& f) { return f.avx512; }, HWY_AVX3},
#ifdef LORA_EMULATE_AMX  // a test's build of this file
    {Isa::amx, "amx_emulated", [](const CpuFeatures& f) { return f.avx512; }, HWY_AVX3},
#else
    {Isa::amx, "amx", [](const CpuFeatures& f) { return f.amx_bf16; }, HWY_AVX3},
#endif
#elif defined(__aarch64__)
    {Isa::neon, "neon", [](const CpuFeatures& f) { return f.neon; }, HWY_NEON},
#endif
};

const Row& row(Isa isa) {
  return *std::find_if(std::begin(kRows), std::end(kRows), [&](const Row& r) { return r.isa == isa; });
}

Isa choose() {
  Isa chosen = supported_isas().back();
  if (const char* wanted = std::getenv("LORA_ISA"); wanted && *wanted) {
    const auto all = supported_isas();
    const auto found = std::find_if(all.begin(), all.end(), [&](Isa i) { return name(i) == wanted; });
    if (found == all.end()) {
      std::string known;
      for (Isa i : all) known += (known.empty() ? "" : ", ") + std::string(name(i));
      fail("LORA_ISA={}: not supported by this CPU or build (supported: {})", wanted, known);
    }
    chosen = *found;
  }
  // Highway numbers better targets lower: masking all below the wanted one leaves it as the best.
  if (const uint64_t target = row(chosen).hwy_target) hwy::DisableTargets(decltype(HWY_TARGETS)(target - 1));
  return chosen;
}

}  // namespace

std::string_view name(Isa isa) {
  return row(isa).name;
}

std::vector<Isa> built_isas() {
  std::vector<Isa> result;
  for (const Row& r : kRows) result.push_back(r.isa);
  return result;
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> result;
  for (const Row& r : kRows) {
    if (r.supported(cpu_features())) result.push_back(r.isa);
  }
  return result;
}

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

bool has_bf16_tiles() {
  return isa() == Isa::amx;
}

bool has_native_bf16() {
  return has_bf16_tiles() || has_avx512_bf16();
}

bool prefers_bf16() {
  return has_bf16_tiles() || (has_avx512_bf16() && !cpu_features().avx512_bf16_is_slow);
}

bool has_avx512_bf16() {
  return (isa() == Isa::amx || isa() == Isa::avx512) && cpu_features().avx512_bf16;
}

std::string instructions_text() {
  std::string text(name(isa()));
  if (has_native_bf16()) text += " with bf16";
  if (has_avx_vnni() || (isa() >= Isa::avx512 && cpu_features().avx512_vnni)) text += " with VNNI";
  return text;
}

bool has_avx_vnni() {
#ifdef LORA_EMULATE_AVX_VNNI
  return isa() == Isa::avx2;
#else
  return isa() == Isa::avx2 && cpu_features().avx_vnni;
#endif
}

}  // namespace lora
