// Folders of data with links in them, and names that differ in case.
#include "data/data_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/process.h"

namespace lora {
namespace posix_data_files_test {

namespace fs = std::filesystem;

TEST(PosixDataFiles, OfLinksThoseToFilesAreFollowed) {
  const std::string root = testing::TempDir() + "posix_data_files_" + std::to_string(process_id());
  const auto at = [&](const std::string& name) { return root + "/" + name; };
  fs::create_directories(at("d"));
  for (const char* name : {"d/b.txt", "d/B.txt", "d/c.csv"}) std::ofstream(at(name)) << "x";
  fs::create_directory_symlink(at("d"), at("d/round"));
  fs::create_symlink(at("d/c.csv"), at("d/link.csv"));
  fs::create_symlink(at("gone"), at("d/gone.txt"));
  const DataFiles files = data_files({at("d")});
  EXPECT_THAT(files.paths, testing::ElementsAre(at("d/B.txt"), at("d/b.txt"), at("d/c.csv"), at("d/gone.txt"),
                                                at("d/link.csv")));
  EXPECT_THAT(files.notes,
              testing::ElementsAre(at("d") + ": 5 files in this folder; skipped: 1 linked folder or device",
                                   "warning: named more than once, and read as often: " + at("d/link.csv")));
  fs::remove_all(root);
}

}  // namespace posix_data_files_test
}  // namespace lora
