// This process among those that mpirun started; alone without it.
#pragma once

#include <string>

#include "cluster/cluster.h"

namespace lora::cli {

// Joins the others, in a command that several processes can run.
const Cluster& join();
// Whether it is another than the first of several, which has nothing to say.
bool is_silent();
// At the end of a command: waits for the others, or after an error ends them, too. An error that all have is
// said by the first.
void leave();
void leave_with_error(const std::string& what);

}  // namespace lora::cli
