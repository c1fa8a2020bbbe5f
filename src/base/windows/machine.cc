#include "base/machine.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/windows/wide.h"
#include "base/windows/windows.h"

namespace lora {
namespace {

// The physical cores that this process may run on, each by the processors that are its hyper-threads.
std::vector<GROUP_AFFINITY> allowed_cores() {
  DWORD n = 0;
  GetLogicalProcessorInformationEx(RelationProcessorCore, nullptr, &n);
  std::vector<std::byte> memory(n);
  auto* const first = reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(memory.data());
  if (n == 0 || !GetLogicalProcessorInformationEx(RelationProcessorCore, first, &n)) return {};
  // Of a group of 64 at most. One that may have all processors of its group may have those of the others,
  // too.
  DWORD_PTR mask = 0, all = 0;
  const bool is_bound = GetProcessAffinityMask(GetCurrentProcess(), &mask, &all) && mask != 0 && mask != all;
  USHORT group = 0, n_groups = 1;
  GetProcessGroupAffinity(GetCurrentProcess(), &n_groups, &group);
  std::vector<GROUP_AFFINITY> cores;
  for (size_t at = 0; at < n;) {
    auto* const info = reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(memory.data() + at);
    const GROUP_AFFINITY& core = info->Processor.GroupMask[0];
    if (!is_bound || (core.Group == group && (core.Mask & mask) != 0)) cores.push_back(core);
    at += info->Size;
  }
  return cores;
}

const std::vector<GROUP_AFFINITY>& cores() {
  static const std::vector<GROUP_AFFINITY> all = allowed_cores();
  return all;
}

// What the job that this process may be in says of it; false if it is in none.
template <class Info>
bool job_says(JOBOBJECTINFOCLASS kind, Info& info) {
  BOOL in_job = FALSE;
  return IsProcessInJob(GetCurrentProcess(), nullptr, &in_job) && in_job &&
         QueryInformationJobObject(nullptr, kind, &info, sizeof info, nullptr);
}

double job_processors() {
  const double all = double(logical_processors());
  JOBOBJECT_CPU_RATE_CONTROL_INFORMATION rate = {};
  if (!job_says(JobObjectCpuRateControlInformation, rate)) return all;
  if (!(rate.ControlFlags & JOB_OBJECT_CPU_RATE_CONTROL_ENABLE) ||
      !(rate.ControlFlags & JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP))
    return all;
  return all * double(rate.CpuRate) / 10000;
}

// Newer than what every Windows has: the last field is what is resident of the process's own memory.
struct Counters {
  PROCESS_MEMORY_COUNTERS_EX known = {};
  SIZE_T private_resident = 0;
  uint64_t more = 0;
};

Counters memory_counters() {
  Counters counters;
  counters.known.cb = sizeof counters;
  auto* const known = reinterpret_cast<PROCESS_MEMORY_COUNTERS*>(&counters.known);
  if (GetProcessMemoryInfo(GetCurrentProcess(), known, sizeof counters) && counters.private_resident > 0)
    return counters;
  counters = {};
  GetProcessMemoryInfo(GetCurrentProcess(), known, sizeof counters.known);
  // Without it: all that it has taken, as if it were resident. PrivateUsage is the same, but 0 under Wine 8.
  counters.private_resident = std::min(counters.known.WorkingSetSize, counters.known.PagefileUsage);
  return counters;
}

}  // namespace

// 18: the tiles' data (XSTATE_AMX_TILE_DATA); Windows 11 gives them to the processes that ask.
bool system_lets_use_tiles() {
  const auto enable =
      find_function<BOOL WINAPI(DWORD64)>(L"kernel32.dll", "EnableProcessOptionalXStateFeatures");
  return enable && enable(DWORD64{1} << 18);
}

bool system_has_dot_products() {
  constexpr DWORD kDotProducts = 43;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
  return IsProcessorFeaturePresent(kDotProducts) != 0;
}

int physical_cores() {
  return std::max(1, int(std::min(double(cores().size()), job_processors())));
}

int logical_processors() {
  return std::max(1, int(GetActiveProcessorCount(ALL_PROCESSOR_GROUPS)));
}

double thread_cpu_seconds() {
  FILETIME created, ended, kernel, user;
  if (!GetThreadTimes(GetCurrentThread(), &created, &ended, &kernel, &user)) return 0;
  const auto seconds = [](const FILETIME& t) {
    return 1e-7 * double(uint64_t{t.dwHighDateTime} << 32 | t.dwLowDateTime);
  };
  return seconds(kernel) + seconds(user);
}

double thread_cpu_step() {
  return 1.0 / 64;  // of the scheduler's clock
}

// A thread begins in its process's group and stays there, unless it is told otherwise.
void place_worker(int worker) {
  const auto name = find_function<HRESULT WINAPI(HANDLE, PCWSTR)>(L"kernel32.dll", "SetThreadDescription");
  if (name) name(GetCurrentThread(), (L"worker " + std::to_wstring(worker)).c_str());
  if (GetActiveProcessorGroupCount() < 2 || cores().empty()) return;
  const WORD group = cores()[size_t(worker) % cores().size()].Group;
  GROUP_AFFINITY whole = {};
  whole.Group = group;
  for (const GROUP_AFFINITY& core : cores()) {
    if (core.Group == group) whole.Mask |= core.Mask;
  }
  SetThreadGroupAffinity(GetCurrentThread(), &whole, nullptr);
}

void spread_pages() {}  // a process has no say in where pages of files come to lie

std::optional<uint64_t> available_memory(uint64_t file_bytes) {
  MEMORYSTATUSEX status = {};
  status.dwLength = sizeof status;
  if (!GlobalMemoryStatusEx(&status)) return std::nullopt;
  uint64_t available = status.ullAvailPhys - std::min<uint64_t>(status.ullAvailPhys, file_bytes);
  // What is taken counts against memory and paging files together, touched or not.
  available = std::min<uint64_t>(available, status.ullAvailPageFile);
  JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {};
  if (job_says(JobObjectExtendedLimitInformation, limits)) {
    const DWORD flags = limits.BasicLimitInformation.LimitFlags;
    const uint64_t used = memory_counters().known.PagefileUsage;
    const auto tighten = [&](DWORD flag, uint64_t limit) {
      if (flags & flag) available = std::min(available, limit - std::min(limit, used));
    };
    tighten(JOB_OBJECT_LIMIT_PROCESS_MEMORY, limits.ProcessMemoryLimit);
    tighten(JOB_OBJECT_LIMIT_JOB_MEMORY, limits.JobMemoryLimit);
  }
  return available;
}

uint64_t resident_anonymous_bytes() {
  return memory_counters().private_resident;
}
uint64_t resident_bytes() {
  return memory_counters().known.WorkingSetSize;
}
uint64_t resident_file_bytes() {
  const Counters counters = memory_counters();
  return counters.known.WorkingSetSize - std::min(counters.known.WorkingSetSize, counters.private_resident);
}
uint64_t peak_resident_bytes() {
  return memory_counters().known.PeakWorkingSetSize;
}

}  // namespace lora
