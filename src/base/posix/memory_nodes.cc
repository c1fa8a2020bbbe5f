#include "base/posix/memory_nodes.h"

#include <algorithm>
#include <fstream>

#if defined(__linux__)
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lora {
namespace {

// The numbers of a list as the kernel writes it, "0-3,8".
std::vector<int> listed(const std::string& path) {
  std::vector<int> numbers;
  std::ifstream in(path);
  for (int first = 0; in >> first; in.ignore()) {
    int last = first;
    if (in.peek() == '-') in.ignore() >> last;
    for (; first <= last; ++first) numbers.push_back(first);
  }
  return numbers;
}

}  // namespace

std::vector<int> memory_nodes(const std::vector<int>& processors, const std::string& root) {
  const std::string folder = root + "/sys/devices/system/node/";
  std::vector<int> nodes = listed(folder + "has_memory");
  std::erase_if(nodes, [&](int node) {
    const std::vector<int> near = listed(folder + "node" + std::to_string(node) + "/cpulist");
    return std::ranges::find_first_of(near, processors) == near.end();
  });
  return nodes;
}

#if defined(__linux__)
bool spread_over(const std::vector<int>& nodes) {
  int policy = MPOL_DEFAULT;
  if (syscall(SYS_get_mempolicy, &policy, nullptr, 0, nullptr, 0) != 0 || policy != MPOL_DEFAULT)
    return false;
  constexpr size_t kBits = 8 * sizeof(unsigned long);
  std::vector<unsigned long> mask(size_t(std::ranges::max(nodes)) / kBits + 1);
  for (const int node : nodes) mask[size_t(node) / kBits] |= 1ul << size_t(node) % kBits;
  // The kernel takes one bit less than it is told of.
  return syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, mask.data(), mask.size() * kBits + 1) == 0;
}
#else
bool spread_over(const std::vector<int>&) {
  return false;
}
#endif

}  // namespace lora
