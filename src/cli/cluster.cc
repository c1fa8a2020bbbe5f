#include "cli/cluster.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <thread>

#include "cli/put.h"
#include "cluster/launch.h"

namespace lora::cli {
namespace {

std::optional<Cluster>& joined() {
  static std::optional<Cluster> cluster;
  return cluster;
}

}  // namespace

const Cluster& join() {
  std::optional<Cluster>& cluster = joined();
  if (!cluster) cluster = join_cluster();
  return *cluster;
}

bool is_silent() {
  const Launch launch = launch_of_environment();
  return launch.size > 1 && launch.rank > 0;
}

void leave() {
  joined().reset();
}

void leave_with_error(const std::string& what) {
  const Launch launch = launch_of_environment();
  if (launch.size == 1) return;
  if (launch.rank > 0) {
    // The first, if it has the same, ends all before this.
    std::this_thread::sleep_for(std::chrono::seconds(2));
    const std::string who = joined() ? joined()->name(launch.rank) : fmt::format("process {}", launch.rank);
    say(stderr, fmt::format("error: {}: {}", who, what));
  }
  if (joined() && !joined()->is_alone()) joined()->abort();
}

}  // namespace lora::cli
