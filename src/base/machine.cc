#include "base/machine.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/limits.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace lora {
namespace {

// A line of /proc/self/status, in bytes; 0 if it is not there.
uint64_t own_bytes(const char* name) {
  return kilobyte_field("/proc/self/status", name).value_or(0);
}

// Numbers of the processors that this process may run on.
std::vector<int> allowed_processors() {
  std::vector<int> processors;
  // The kernel refuses a set that is smaller than its own, whose size it does not tell.
  for (int n = CPU_SETSIZE; n <= 1 << 20; n *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> mask(CPU_ALLOC(size_t(n)),
                                                                [](cpu_set_t* set) { CPU_FREE(set); });
    const size_t bytes = CPU_ALLOC_SIZE(size_t(n));
    if (!mask) break;
    CPU_ZERO_S(bytes, mask.get());
    if (sched_getaffinity(0, bytes, mask.get()) != 0) {
      if (errno == EINVAL) continue;
      break;
    }
    for (int cpu = 0; cpu < n; ++cpu) {
      if (CPU_ISSET_S(size_t(cpu), bytes, mask.get())) processors.push_back(cpu);
    }
    return processors;
  }
  for (int cpu = 0; cpu < int(std::thread::hardware_concurrency()); ++cpu) processors.push_back(cpu);
  return processors;
}

CpuFeatures detect() {
  CpuFeatures f;
#if defined(__aarch64__)
  f.neon = true;
#if defined(__linux__)
  f.neon_dot = getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#endif
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
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    f.avx_vnni = f.avx2 && has(a, 4);
    f.avx512_bf16 = f.avx512 && has(a, 5);
  }
#if defined(__linux__)
  if (f.amx_bf16) {
    constexpr int kArchReqXcompPerm = 0x1023, kXfeatureTiledata = 18;
    if (syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureTiledata) != 0) f.amx_bf16 = f.amx_int8 = false;
  }
#endif
#endif
  return f;
}

}  // namespace

int physical_cores() {
  std::set<std::pair<int64_t, int64_t>> cores;
  for (int cpu : allowed_processors()) {
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    // The system writes -1, too, where it does not know.
    const auto number = [&](const char* name) {
      return int64_t(first_number(folder + name).value_or(uint64_t(-1)));
    };
    const int64_t core = number("core_id");
    cores.emplace(number("physical_package_id"), core < 0 ? cpu + (1 << 20) : core);
  }
  const double n = double(cores.size());
  return std::max(1, int(std::min(n, cpu_quota().value_or(n))));
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

std::optional<uint64_t> available_memory(uint64_t file_bytes) {
  std::optional<uint64_t> available = free_memory();
  if (available) *available -= std::min(*available, file_bytes);
  // Address space is used up by what is mapped already, files too.
  for (const auto& [resource, use] : {std::pair{RLIMIT_AS, "VmSize:"}, std::pair{RLIMIT_DATA, "VmData:"}}) {
    rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) continue;
    const uint64_t left = limit.rlim_cur - std::min<uint64_t>(limit.rlim_cur, own_bytes(use));
    available = std::min(available.value_or(left), left);
  }
  return available;
}

void expect_memory(std::string_view what, uint64_t bytes, std::string_view way_out) {
  const std::optional<uint64_t> available = available_memory();
  if (!available || bytes <= *available) return;
  constexpr double kMib = 1 << 20;
  fail("memory: {} need {:.1f} MiB, {:.1f} MiB are available ({})", what, double(bytes) / kMib,
       double(*available) / kMib, way_out);
}

uint64_t resident_anonymous_bytes() {
  return own_bytes("RssAnon:");
}
uint64_t resident_bytes() {
  return own_bytes("VmRSS:");
}
uint64_t resident_file_bytes() {
  return own_bytes("RssFile:");
}
uint64_t peak_resident_bytes() {
  return own_bytes("VmHWM:");
}

}  // namespace lora
