#include "base/machine.h"

#include <cstring>

#include "base/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace lora {
namespace {

CpuFeatures detect() {
  CpuFeatures f;
#if defined(__aarch64__)
  f.neon = true;
  f.neon_dot = system_has_dot_products();
#elif defined(__x86_64__)
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return f;
  const bool fma = c & bit_FMA, f16c = c & bit_F16C;
  unsigned xcr0, high;
  asm volatile("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
  const bool ymm = (xcr0 & 0x6) == 0x6, zmm = (xcr0 & 0xe6) == 0xe6, tile = (xcr0 & 0x60000) == 0x60000;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return f;
  const auto has = [](unsigned reg, int bit) { return (reg >> bit & 1) != 0; };
  f.avx2 = ymm && fma && f16c && has(b, 5) && has(b, 8);
  f.avx512 = f.avx2 && zmm && has(b, 16) && has(b, 17) && has(b, 28) && has(b, 30) && has(b, 31);
  const bool amx_cpu = f.avx512 && tile && has(d, 24);
  f.amx_bf16 = amx_cpu && has(d, 22);
  f.amx_int8 = amx_cpu && has(d, 25);
  f.avx512_vnni = f.avx512 && has(c, 11);
  // Intel's cores that have FP16 (Sapphire Rapids and later) begin a VDPBF16PS every other cycle: half of
  // what FMA does, which matters where a virtual machine hides their tiles. AMD's and Cooper Lake do twice as
  // much.
  unsigned vendor[3], highest;
  __get_cpuid(0, &highest, &vendor[0], &vendor[2], &vendor[1]);
  const bool is_intel = std::memcmp(vendor, "GenuineIntel", sizeof vendor) == 0;
  f.avx512_bf16_is_slow = is_intel && has(d, 23);
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    f.avx_vnni = f.avx2 && has(a, 4);
    f.avx512_bf16 = f.avx512 && has(a, 5);
  }
  if (f.amx_bf16 && !system_lets_use_tiles()) f.amx_bf16 = f.amx_int8 = false;
#endif
  return f;
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

void expect_memory(std::string_view what, uint64_t bytes, std::string_view way_out) {
  const std::optional<uint64_t> available = available_memory();
  if (!available || bytes <= *available) return;
  constexpr double kMib = 1 << 20;
  fail("memory: {} need {:.1f} MiB, {:.1f} MiB are available ({})", what, double(bytes) / kMib,
       double(*available) / kMib, way_out);
}

}  // namespace lora
