// Whether this process was started as one of several, by mpirun, srun or their like.
#pragma once

#include <memory>
#include <string>

#include "cluster/cluster.h"

namespace lora {

// The cluster that this process is of; one process where nothing says otherwise, without a thought of MPI.
// Error where it was started as one of several, and the program was built without MPI or the starter speaks
// another tongue: each would take itself for the only one, and write the others' files.
Cluster join_cluster();

// How many processes the starter says there are; 1 without one. `slurm_only`: srun started it, without MPI.
struct Launch {
  int size = 1;
  int rank = 0;
  bool slurm_only = false;
};
Launch launch_of_environment();

// Of MPI (cluster/mpi.cc); nullptr in a program that was built without.
std::shared_ptr<Transport> mpi_transport();

}  // namespace lora
