// Machines whose memory is in several places, each near to some of the processors (NUMA, Linux alone).
#pragma once

#include <string>
#include <vector>

namespace lora {

// The nodes, by number, that have memory and one of these processors. root: as in base/posix/limits.h.
std::vector<int> memory_nodes(const std::vector<int>& processors, const std::string& root = "");

// From now on what the calling thread, and those that it starts, are the first to touch comes from these
// nodes in turn, page by page, files too. False, and nothing changes, where a policy was set before
// (numactl), or the system does not allow it.
bool spread_over(const std::vector<int>& nodes);

}  // namespace lora
