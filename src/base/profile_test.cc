#include "base/profile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <thread>

namespace lora {
namespace profile_test {

using std::chrono::milliseconds;

double total(const Profile& profile) {
  return std::accumulate(profile.seconds.begin(), profile.seconds.end(), 0.0);
}

TEST(Profile, TimeBelongsToTheInnermostScope) {
  Profile profile;
  const auto start = Clock::now();
  {
    const ProfileScope step(&profile, Part::elementwise);
    std::this_thread::sleep_for(milliseconds(4));
    {
      const ProfileScope product(&profile, Part::gemm_forward);
      {
        const ProfileScope lora(&profile, Part::lora);
        std::this_thread::sleep_for(milliseconds(8));
      }
      std::this_thread::sleep_for(milliseconds(2));
    }
  }
  const double all = std::chrono::duration<double>(Clock::now() - start).count();
  EXPECT_GE(profile[Part::elementwise], 0.004);
  EXPECT_GE(profile[Part::gemm_forward], 0.002);
  EXPECT_GE(profile[Part::lora], 0.008);
  EXPECT_LE(total(profile), all);
  EXPECT_GT(total(profile), 0.9 * all);
  std::this_thread::sleep_for(milliseconds(2));  // between scopes nothing is counted
  const double before = total(profile);
  { const ProfileScope more(&profile, Part::optimizer); }
  EXPECT_LT(total(profile) - before, 0.002);
}

TEST(Profile, TheHeadsProductsBelongToTheHead) {
  Profile profile;
  {
    const ProfileScope head(&profile, Part::head);
    const ProfileScope product(&profile, Part::gemm_forward);
    std::this_thread::sleep_for(milliseconds(2));
  }
  EXPECT_GE(profile[Part::head], 0.002);
  EXPECT_EQ(profile[Part::gemm_forward], 0);
  { const ProfileScope product(&profile, Part::gemm_forward); }
  EXPECT_GT(profile[Part::gemm_forward], 0);
}

TEST(Profile, EveryPartHasItsRow) {
  for (size_t i = 0; i < std::size(kParts); ++i) {
    EXPECT_EQ(std::count_if(std::begin(kParts), std::end(kParts),
                            [&](const PartRow& row) { return row.part == Part(i); }),
              1);
  }
}

}  // namespace profile_test
}  // namespace lora
