// Systems played by files in a folder: what the machine, a control group of version 1 or 2, or one above it
// leaves to the process.
#include "base/posix/limits.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace lora {
namespace limits_test {

constexpr uint64_t kMiB = 1 << 20;

class Limits : public testing::Test {
 protected:
  Limits() { std::filesystem::create_directories(root_); }
  ~Limits() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void write(const std::string& path, uint64_t number) { write(path, std::to_string(number) + "\n"); }
  void machine_has(uint64_t mib) {
    write("/proc/meminfo", "MemTotal:       33554432 kB\nMemFree:          100000 kB\nMemAvailable:   " +
                               std::to_string(mib * 1024) + " kB\nBuffers:    4 kB\n");
  }
  // A line of /proc/self/mountinfo.
  void mount(const std::string& group, const std::string& folder, const std::string& type,
             const std::string& options) {
    mounts_ +=
        "31 24 0:26 " + group + " " + folder + " rw,nosuid shared:9 - " + type + " cgroup " + options + "\n";
    write("/proc/self/mountinfo", "22 27 0:21 / /proc rw - proc proc rw\n" + mounts_);
  }
  // A group of version 2, of which `cache` MiB can be dropped.
  void v2(const std::string& folder, const std::string& max, uint64_t used_mib, uint64_t cache_mib) {
    write(folder + "/memory.max", max + "\n");
    write(folder + "/memory.current", used_mib * kMiB);
    write(folder + "/memory.stat", "anon 1\nfile 999999999999\ninactive_file " +
                                       std::to_string(cache_mib * kMiB / 2) + "\nactive_file " +
                                       std::to_string(cache_mib * kMiB / 4) + "\nslab_reclaimable " +
                                       std::to_string(cache_mib * kMiB / 4) + "\nslab 88888888888\n");
  }
  void v1(const std::string& folder, uint64_t limit, uint64_t used_mib, uint64_t cache_mib) {
    write(folder + "/memory.limit_in_bytes", limit);
    write(folder + "/memory.usage_in_bytes", used_mib * kMiB);
    write(folder + "/memory.stat", "cache 99999999999\ninactive_file 0\nactive_file 0\ntotal_inactive_file " +
                                       std::to_string(cache_mib * kMiB / 2) + "\ntotal_active_file " +
                                       std::to_string(cache_mib * kMiB / 2) + "\n");
  }
  uint64_t free_mib() { return free_memory(root_).value() / kMiB; }

  const std::string root_ = testing::TempDir() + "lora_limits_" + std::to_string(getpid());
  std::string mounts_;
};

constexpr uint64_t kV1None = 9223372036854771712u;

TEST_F(Limits, WithoutGroupsTheMachineIsTheLimit) {
  machine_has(5000);
  EXPECT_EQ(free_mib(), 5000u);
  EXPECT_EQ(cpu_quota(root_), std::nullopt);
}

TEST_F(Limits, CannotTellIsNotNothingAndNotEverything) {
  EXPECT_EQ(free_memory(root_), std::nullopt);
  write("/proc/meminfo", "MemTotal:       33554432 kB\nMemFree:          100000 kB\n");
  EXPECT_EQ(free_memory(root_), std::nullopt);
  write("/proc/meminfo", "MemAvailable:   many kB\n");
  EXPECT_EQ(free_memory(root_), std::nullopt);
  machine_has(0);
  EXPECT_EQ(free_memory(root_), 0u);
}

TEST_F(Limits, AGroupTellsWhereTheMachineDoesNot) {
  v2("/sys/fs/cgroup", std::to_string(800 * kMiB), 300, 0);
  EXPECT_EQ(free_mib(), 500u);
}

TEST_F(Limits, ALimitWhoseUseIsNotToldIsALimit) {
  machine_has(5000);
  write("/sys/fs/cgroup/memory.max", 700 * kMiB);
  EXPECT_EQ(free_mib(), 700u);
}

TEST_F(Limits, PageCacheThatCanBeDroppedIsFree) {
  machine_has(9000);
  v2("/sys/fs/cgroup", std::to_string(8192 * kMiB), 8191, 8000);
  EXPECT_EQ(free_mib(), 8001u);
  // What its counters say of cache may be more than what is used, read a moment before.
  v2("/sys/fs/cgroup", std::to_string(8192 * kMiB), 400, 500);
  EXPECT_EQ(free_mib(), 8192u);
  // A group may use more than a limit that was lowered.
  v2("/sys/fs/cgroup", std::to_string(100 * kMiB), 400, 0);
  EXPECT_EQ(free_mib(), 0u);
}

TEST_F(Limits, OfVersion2EveryGroupAboveCounts) {
  machine_has(9000);
  write("/proc/self/cgroup", "0::/user.slice/job.scope\n");
  mount("/", "/sys/fs/cgroup", "cgroup2", "rw,nsdelegate");
  v2("/sys/fs/cgroup/user.slice/job.scope", "max", 50, 0);
  EXPECT_EQ(free_mib(), 9000u);
  v2("/sys/fs/cgroup/user.slice", std::to_string(4000 * kMiB), 1500, 500);
  EXPECT_EQ(free_mib(), 3000u);
  v2("/sys/fs/cgroup/user.slice/job.scope", std::to_string(2000 * kMiB), 50, 0);
  EXPECT_EQ(free_mib(), 1950u);
  write("/sys/fs/cgroup/user.slice/job.scope/memory.high", 1000 * kMiB);
  EXPECT_EQ(free_mib(), 950u);
  // A group beside it does not.
  v2("/sys/fs/cgroup/other.slice", std::to_string(10 * kMiB), 0, 0);
  EXPECT_EQ(free_mib(), 950u);
}

TEST_F(Limits, OfVersion1EveryGroupAboveCounts) {
  machine_has(9000);
  write("/proc/self/cgroup", "7:cpu,cpuacct:/other\n4:memory:/docker/abc\n0::/init.scope\n");
  mount("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory");
  v1("/sys/fs/cgroup/memory", kV1None, 20000, 0);
  v1("/sys/fs/cgroup/memory/docker/abc", kV1None, 100, 0);
  EXPECT_EQ(free_mib(), 9000u);
  v1("/sys/fs/cgroup/memory/docker", 3000 * kMiB, 2000, 1500);
  EXPECT_EQ(free_mib(), 2500u);
  v1("/sys/fs/cgroup/memory/docker/abc", 1000 * kMiB, 990, 900);
  EXPECT_EQ(free_mib(), 910u);
}

TEST_F(Limits, OfVersion1TheLimitAboveIsToldWithinAContainer) {
  machine_has(9000);
  v1("/sys/fs/cgroup/memory", kV1None, 100, 0);
  std::ofstream(root_ + "/sys/fs/cgroup/memory/memory.stat", std::ios::app)
      << "hierarchical_memory_limit " << 600 * kMiB << "\n";
  EXPECT_EQ(free_mib(), 500u);
}

// A container's mount shows its own group at the top, under whatever name the host gave it.
TEST_F(Limits, AMountMayBeginAtTheProcessesGroup) {
  machine_has(9000);
  write("/proc/self/cgroup", "4:memory:/docker/abc/job\n");
  mount("/docker/abc", "/sys/fs/cgroup/memory", "cgroup", "rw,memory");
  v1("/sys/fs/cgroup/memory", 2000 * kMiB, 0, 0);
  EXPECT_EQ(free_mib(), 2000u);
  v1("/sys/fs/cgroup/memory/job", 1000 * kMiB, 0, 0);
  EXPECT_EQ(free_mib(), 1000u);
}

TEST_F(Limits, APathOutsideTheMountLeavesItsTop) {
  machine_has(9000);
  for (const char* path : {"0::/../../elsewhere\n", "0::/docker/abcdef\n", "0::/\n", "0::\n", "0::no\n"}) {
    mounts_.clear();
    write("/proc/self/cgroup", path);
    mount("/docker/abc", "/container", "cgroup2", "rw");
    v2("/container", std::to_string(1500 * kMiB), 0, 0);
    EXPECT_EQ(free_mib(), 1500u) << path;
  }
}

TEST_F(Limits, TheMountMayBeAnywhereAndHaveASpaceInItsName) {
  machine_has(9000);
  write("/proc/self/cgroup", "0::/a b\n");
  mount("/", "/mnt/control\\040groups", "cgroup2", "rw");
  v2("/mnt/control groups/a b", std::to_string(1200 * kMiB), 200, 0);
  EXPECT_EQ(free_mib(), 1000u);
}

// Both versions at once, as systemd sets them up: memory in version 1, version 2 without controllers.
TEST_F(Limits, AHybridSystemIsReadByBoth) {
  machine_has(9000);
  write("/proc/self/cgroup", "9:name=systemd:/x\n4:memory:/jobs\n1:cpu,cpuacct:/jobs\n0::/user.slice\n");
  mount("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory");
  mount("/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct");
  mount("/", "/sys/fs/cgroup/unified", "cgroup2", "rw");
  write("/sys/fs/cgroup/unified/user.slice/cgroup.procs", "1\n");
  v1("/sys/fs/cgroup/memory/jobs", 1000 * kMiB, 100, 0);
  write("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "150000\n");
  write("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(free_mib(), 900u);
  EXPECT_EQ(cpu_quota(root_), 1.5);
}

TEST_F(Limits, GroupsThatAreNotThereAreLeftOut) {
  machine_has(9000);
  write("/proc/self/cgroup", "0::/gone/deep\n");
  mount("/", "/sys/fs/cgroup", "cgroup2", "rw");
  v2("/sys/fs/cgroup", std::to_string(1000 * kMiB), 0, 0);
  write("/sys/fs/cgroup/cpu.max", "250000 100000\n");
  EXPECT_EQ(free_mib(), 1000u);
  EXPECT_EQ(cpu_quota(root_), 2.5);
}

TEST_F(Limits, TheTightestQuotaAboveCounts) {
  write("/proc/self/cgroup", "0::/a/b\n");
  mount("/", "/sys/fs/cgroup", "cgroup2", "rw");
  write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(cpu_quota(root_), std::nullopt);
  write("/sys/fs/cgroup/a/cpu.max", "400000 100000\n");
  EXPECT_EQ(cpu_quota(root_), 4.0);
  write("/sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
  EXPECT_EQ(cpu_quota(root_), 0.5);
}

TEST_F(Limits, OfVersion1AQuotaBelowNothingIsNone) {
  for (const char* name : {"cpu", "cpu,cpuacct"}) {
    const std::string folder = std::string("/sys/fs/cgroup/") + name;
    write("/proc/self/cgroup", "3:cpu,cpuacct:/job\n");
    write(folder + "/job/cpu.cfs_quota_us", "-1\n");
    write(folder + "/job/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(cpu_quota(root_), std::nullopt) << name;
    write(folder + "/job/cpu.cfs_quota_us", "300000\n");
    EXPECT_EQ(cpu_quota(root_), 3.0) << name;
    std::filesystem::remove_all(root_ + folder);
  }
}

TEST_F(Limits, ReadsNumbersOfKilobytes) {
  write("/status", "Name:\tlora\nVmRSS:\t   123 kB\nRssAnon:\nVmSize: x\n");
  EXPECT_EQ(kilobyte_field(root_ + "/status", "VmRSS:"), 123u * 1024);
  EXPECT_EQ(kilobyte_field(root_ + "/status", "RssAnon:"), std::nullopt);
  EXPECT_EQ(kilobyte_field(root_ + "/status", "VmSize:"), std::nullopt);
  EXPECT_EQ(kilobyte_field(root_ + "/none", "VmRSS:"), std::nullopt);
}

}  // namespace limits_test
}  // namespace lora
