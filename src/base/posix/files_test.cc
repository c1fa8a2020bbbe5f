// Files and threads as POSIX has them: links, descriptors, limits.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/same_file.h"

namespace lora {
namespace posix_files_test {

std::string scratch(const std::string& name) {
  return testing::TempDir() + "lora_posix_" + std::to_string(getpid()) + "_" + name;
}

// In a process whose address space holds a few thread stacks: 7 for the Error, 0 if all threads started.
[[noreturn]] void start_too_many_threads() {
  const rlimit limit{rlim_t{1} << 30, rlim_t{1} << 30};
  setrlimit(RLIMIT_AS, &limit);
  try {
    ThreadPool pool(1000);
  } catch (const Error&) {
    _exit(7);
  }
  _exit(0);
}

TEST(ThreadPool, SaysWhenThreadsCannotBeStarted) {
  if (LORA_INSTRUMENTED)
    GTEST_SKIP() << "a sanitizer's memory is larger than the limit, an emulator sets none";
  EXPECT_EXIT(start_too_many_threads(), testing::ExitedWithCode(7), "");
}

TEST(Files, AppendFileThatIsRefusedIsClosed) {
  const std::string path = scratch("refused");
  std::ofstream(path) << "a line\n";
  const auto n_open = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  const auto before = n_open();
  EXPECT_THROW(AppendFile(path, [](auto) -> bool { fail("not a line"); }), Error);
  EXPECT_EQ(n_open(), before);
  EXPECT_EQ(MappedFile(path).text(), "a line\n");
  std::filesystem::remove(path);
}

TEST(Files, NothingIsWrittenThroughALinkToWhatIsRead) {
  const std::string folder = scratch("links");
  std::filesystem::create_directories(folder + "/inner/deep");
  std::ofstream(folder + "/a") << "a";
  std::filesystem::create_symlink("a", folder + "/link");
  std::filesystem::create_symlink("inner", folder + "/other");
  EXPECT_THROW(expect_new(folder + "/link", std::vector{folder + "/a"}), Error);
  EXPECT_NO_THROW(expect_new(folder + "/link2", std::vector{folder + "/a"}));
  EXPECT_TRUE(lies_in(folder + "/other/deep/new", folder + "/inner"));
  EXPECT_TRUE(lies_in(folder + "/inner/deep/../new", folder + "/other"));
  EXPECT_FALSE(lies_in(folder + "/inner2/new", folder + "/inner"));
  EXPECT_FALSE(lies_in(folder + "/inner/../new", folder + "/inner"));
  std::filesystem::remove_all(folder);
}

}  // namespace posix_files_test
}  // namespace lora
