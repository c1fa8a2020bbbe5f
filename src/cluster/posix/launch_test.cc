#include "cluster/launch.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "base/error.h"

namespace lora {
namespace launch {

const char* const kNames[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_RANK", "PMIX_RANK",
                              "SLURM_STEP_NUM_TASKS"};

class LaunchOf : public testing::Test {
 protected:
  LaunchOf() {
    for (const char* name : kNames) ::unsetenv(name);
  }
  ~LaunchOf() override {
    for (const char* name : kNames) ::unsetenv(name);
  }
};

TEST_F(LaunchOf, OneIsOneWhereNothingSaysOtherwise) {
  EXPECT_EQ(launch_of_environment().size, 1);
  EXPECT_TRUE(join_cluster().is_alone());
}

TEST_F(LaunchOf, AStarterSaysHowMany) {
  ::setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
  EXPECT_EQ(launch_of_environment().size, 4);
  ::setenv("OMPI_COMM_WORLD_SIZE", "1", 1);
  EXPECT_TRUE(join_cluster().is_alone());
}

TEST_F(LaunchOf, SlurmAloneIsRefused) {
  ::setenv("SLURM_STEP_NUM_TASKS", "3", 1);
  EXPECT_TRUE(launch_of_environment().slurm_only);
  try {
    join_cluster();
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("srun --mpi=pmix"));
  }
}

}  // namespace launch
}  // namespace lora
