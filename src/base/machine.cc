#include "base/machine.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace lora {
namespace {

// The number in a one-line file of /proc or /sys; -1 where there is none ("max", no file).
int64_t number_in(const std::string& path) {
  std::ifstream in(path);
  int64_t value = -1;
  return in >> value ? value : -1;
}

// A "Name:   123 kB" line of a /proc file, in bytes; 0 if absent.
uint64_t kilobyte_field(const char* path, const std::string& name) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, name.size(), name) == 0) return std::stoull(line.substr(name.size())) * 1024;
  }
  return 0;
}

// This process's cgroup v2 folder, "" if there is none.
std::string cgroup_folder() {
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("0::", 0) == 0) return "/sys/fs/cgroup" + line.substr(3);
  }
  return "";
}

double cgroup_cores() {
  for (const std::string& folder : {cgroup_folder(), std::string("/sys/fs/cgroup")}) {
    std::ifstream in(folder + "/cpu.max");
    double quota, period;
    if (in >> quota >> period && period > 0) return quota / period;
  }
  return std::numeric_limits<double>::infinity();
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
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return 1;
  std::set<std::pair<int64_t, int64_t>> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const int64_t core = number_in(folder + "core_id");
    cores.emplace(number_in(folder + "physical_package_id"), core < 0 ? cpu + (1 << 20) : core);
  }
  const double limit = std::max(1.0, cgroup_cores());
  return std::max(1, int(std::min(double(cores.size()), limit)));
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

uint64_t available_memory() {
  uint64_t available = kilobyte_field("/proc/meminfo", "MemAvailable:");
  const std::string own = cgroup_folder();
  for (const auto& [limit_file, use_file] :
       {std::pair{own + "/memory.max", own + "/memory.current"},
        std::pair{std::string("/sys/fs/cgroup/memory.max"), std::string("/sys/fs/cgroup/memory.current")},
        std::pair{std::string("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
                  std::string("/sys/fs/cgroup/memory/memory.usage_in_bytes")}}) {
    const int64_t limit = number_in(limit_file), use = number_in(use_file);
    if (limit > 0 && use >= 0) available = std::min(available, uint64_t(std::max<int64_t>(limit - use, 0)));
  }
  return available;
}

uint64_t resident_anonymous_bytes() {
  return kilobyte_field("/proc/self/status", "RssAnon:");
}
uint64_t resident_bytes() {
  return kilobyte_field("/proc/self/status", "VmRSS:");
}
uint64_t resident_file_bytes() {
  return kilobyte_field("/proc/self/status", "RssFile:");
}
uint64_t peak_resident_bytes() {
  return kilobyte_field("/proc/self/status", "VmHWM:");
}

}  // namespace lora
