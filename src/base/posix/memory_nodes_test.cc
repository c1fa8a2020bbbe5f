// Machines played by files in a folder, and the system's own answer to a policy.
#include "base/posix/memory_nodes.h"

#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace lora {
namespace memory_nodes_test {

using Nodes = std::vector<int>;

class MemoryNodes : public testing::Test {
 protected:
  ~MemoryNodes() override { std::filesystem::remove_all(root_); }

  void write(const std::string& name, const std::string& text) {
    const std::filesystem::path file = root_ + "/sys/devices/system/node/" + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  const std::string root_ = testing::TempDir() + "lora_memory_nodes_" + std::to_string(getpid());
};

TEST_F(MemoryNodes, AreThoseOfTheProcessors) {
  EXPECT_EQ(memory_nodes({0, 1}, root_), Nodes());
  write("has_memory", "0-2,4\n");
  write("node0/cpulist", "0-3,16-19\n");
  write("node1/cpulist", "4-7,20-23\n");
  write("node2/cpulist", "\n");      // memory without processors
  write("node3/cpulist", "8-11\n");  // processors without memory
  write("node4/cpulist", "12\n");
  EXPECT_EQ(memory_nodes({0, 1, 2, 3}, root_), Nodes({0}));
  EXPECT_EQ(memory_nodes({19}, root_), Nodes({0}));
  EXPECT_EQ(memory_nodes({5, 16}, root_), Nodes({0, 1}));
  EXPECT_EQ(memory_nodes({8, 9, 12}, root_), Nodes({4}));
  EXPECT_EQ(memory_nodes({8}, root_), Nodes());
  write("node0/cpulist", "many");
  EXPECT_EQ(memory_nodes({0, 20}, root_), Nodes({1}));
}

int policy() {
  int policy = -1;
  return syscall(SYS_get_mempolicy, &policy, nullptr, 0, nullptr, 0) == 0 ? policy : -1;
}

// A policy is a thread's, and of those that it starts. Containers may not ask for one.
TEST_F(MemoryNodes, PagesAreSpreadUnlessThereIsAPolicy) {
  std::thread([] {
    const int before = policy();
    // A process may be kept from node 0, or from asking.
    if (!spread_over({0})) {
      EXPECT_EQ(policy(), before);
      return;
    }
    EXPECT_EQ(before, MPOL_DEFAULT);
    EXPECT_EQ(policy(), MPOL_INTERLEAVE);
    std::thread([] { EXPECT_EQ(policy(), MPOL_INTERLEAVE); }).join();
    EXPECT_FALSE(spread_over({0}));
  }).join();
}

}  // namespace memory_nodes_test
}  // namespace lora
