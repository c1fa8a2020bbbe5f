#include "base/machine.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/posix/limits.h"
#include "base/posix/memory_nodes.h"

#if defined(__aarch64__) && defined(__linux__)
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

}  // namespace

#if defined(__x86_64__) && defined(__linux__)
bool system_lets_use_tiles() {
  constexpr int kArchReqXcompPerm = 0x1023, kXfeatureTiledata = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureTiledata) == 0;
}
#else
bool system_lets_use_tiles() {
  return true;
}
#endif

#if defined(__aarch64__) && defined(__linux__)
bool system_has_dot_products() {
  return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
}
#else
bool system_has_dot_products() {
  return false;
}
#endif

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

int logical_processors() {
  return std::max(1, int(std::thread::hardware_concurrency()));
}

void place_worker(int) {}  // the scheduler's work

void spread_pages() {
  const std::vector<int> nodes = memory_nodes(allowed_processors());
  if (nodes.size() > 1) spread_over(nodes);
}

double thread_cpu_seconds() {
  timespec t = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

double thread_cpu_step() {
  return 0;  // nanoseconds
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
