#include "cluster/launch.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/error.h"

namespace lora {
namespace {

int number_in(const char* name) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : 0;
}

}  // namespace

Launch launch_of_environment() {
  // Open MPI's mpirun, and what speaks PMI (MPICH's, Slurm's).
  for (const auto& [size, rank] :
       {std::pair{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"}, {"PMI_SIZE", "PMI_RANK"}}) {
    if (const int n = number_in(size); n > 0) return {n, number_in(rank)};
  }
  const int tasks = number_in("SLURM_STEP_NUM_TASKS");
  if (std::getenv("PMIX_RANK")) return {tasks > 0 ? tasks : 2, number_in("PMIX_RANK")};
  return {std::max(tasks, 1), number_in("SLURM_PROCID"), tasks > 1};
}

Cluster join_cluster() {
  const Launch launch = launch_of_environment();
  if (launch.size == 1) return {};
  if (launch.slurm_only)
    fail("srun: {} processes were started without MPI, each as if it were alone (srun --mpi=pmix)",
         launch.size);
  std::shared_ptr<Transport> transport = mpi_transport();
  if (!transport)
    fail("mpirun: {} processes were started, but this program was built without MPI", launch.size);
  if (transport->size() == 1)
    fail("mpirun: {} processes were started, but each sees itself alone: another MPI than it was built with",
         launch.size);
  return Cluster(std::move(transport));
}

}  // namespace lora
