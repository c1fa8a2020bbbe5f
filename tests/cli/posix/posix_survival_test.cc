// What a run survives: a second Ctrl-C, a disk that fills.
#include <sys/mount.h>

#include "base/regex_test_util.h"
#include "cli_test.h"

namespace lora::test {
namespace posix_survival_test {

using Args = std::vector<std::string>;
using nlohmann::ordered_json;

class PosixSurvival : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override { folder.write("text.txt", ship_sentences()); }
};

TEST_F(PosixSurvival, ASecondCtrlCLeavesAtOnceAndDamagesNothing) {
  const Args flags = kFinetune + Args{"--lora-out",   "lora.gguf", "--checkpoint-out", "c.gguf",
                                      "--save-every", "5",         "--adam-iter",      "40"};
  ASSERT_EQ(folder.lora(flags).status, 0);
  const std::string lora = folder.read("lora.gguf");
  // In the middle of the run: two signals one after the other, as close as two can be without being taken for
  // one. The run is stopped in between, so that it does not end by itself.
  const std::string command =
      "\"$0\" \"$@\" 2> err.txt & child=$!; until grep -q 'iter=    1[2-9]' err.txt; do sleep 0.01; done; "
      "kill -INT $child; until grep -q stopping err.txt; do :; done; kill -STOP $child; sleep 0.11; "
      "kill -INT $child; kill -CONT $child; "
      // 147: that it had stopped, which bash may say late.
      "while wait -f $child; status=$?; [ $status = 147 ]; do :; done; exit $status";
  Args args = {"/bin/bash", "-c", "set -m; " + command, LORA_PROGRAM};
  for (const std::string& arg : flags) args.push_back(arg);
  std::string err = "checkpoint:";
  // Again where it had ended before it was stopped.
  for (int i = 0; i < 5 && err.find("checkpoint:") != err.npos; ++i) {
    std::filesystem::remove(folder.at("c.gguf"));
    const RunResult run = run_program(args, {.directory = folder.path});
    err = folder.read("err.txt");
    EXPECT_EQ(run.status, 130) << err;
    EXPECT_THAT(err, testing::HasSubstr("Ctrl-C again leaves at once\n"));
  }
  EXPECT_THAT(err, testing::Not(testing::HasSubstr("checkpoint:"))) << "it has ended as after one Ctrl-C";
  ASSERT_TRUE(folder.has("c.gguf"));
  const RunResult resumed = folder.lora(flags + Args{"--checkpoint-in", "c.gguf"});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_EQ(folder.read("lora.gguf"), lora);
}

// A file system of 3 MB of its own; skips the test without the right to mount one.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& path) : path_(path) {
    std::filesystem::create_directories(path);
    mounted = mount("tmpfs", path.c_str(), "tmpfs", 0, "size=3m") == 0;
  }
  ~SmallDisk() {
    if (mounted) umount(path_.c_str());
  }
  SmallDisk(const SmallDisk&) = delete;
  bool mounted;

 private:
  std::string path_;
};

// Checkpoints of 1.4 MB: the one there is and the next fit until a third file takes the room.
TEST_F(PosixSurvival, AFullDiskIsSaidAndTheNextSaveTriesAgain) {
  const SmallDisk disk(folder.at("disk"));
  if (!disk.mounted) GTEST_SKIP() << "only root may mount a small file system";
  const Args flags =
      kFinetune + Args{"--lora-out", "",          "--checkpoint-out", "disk/c.gguf", "--save-every",
                       "100",        "--metrics", "disk/m.jsonl",     "--adam-iter", "600"};
  ASSERT_EQ(folder.lora(flags).status, 0);
  const std::string whole = folder.read("disk/c.gguf");
  std::filesystem::remove(folder.at("disk/c.gguf"));
  std::string good;
  RunOptions options;
  int stage = 0;
  options.signal_on = [&](std::string_view err) {
    if (stage == 0 && err.find("iter=   101 ") != err.npos) {
      good = folder.read("disk/c.gguf");
      folder.write("disk/filler", std::string(size_t{3} << 20, 'x'));  // as much of it as there is room
      stage = 1;
    } else if (stage == 1 && err.find("warning: iteration") != err.npos) {
      EXPECT_EQ(folder.read("disk/c.gguf"), good);
      for (const auto& entry : std::filesystem::directory_iterator(folder.at("disk")))
        EXPECT_NE(entry.path().extension(), ".tmp");
      std::filesystem::remove(folder.at("disk/filler"));
      stage = 2;
    }
    return 0;
  };
  const RunResult run = folder.lora(flags, options);
  ASSERT_EQ(stage, 2) << run.err;
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err,
              contains_regex("warning: iteration [2-5]00 is not saved whole: disk/c.gguf: cannot "
                             "write: No space left on device; the last good checkpoint is "
                             "disk/c.gguf; training goes on, the next save is at iteration [3-6]00"));
  EXPECT_EQ(folder.read("disk/c.gguf"), whole);
  for (const std::string& line : lines_of(folder.read("disk/m.jsonl")))
    EXPECT_TRUE(ordered_json::accept(line)) << line;
}

TEST_F(PosixSurvival, ADiskThatIsFullAtTheEndIsAnErrorThatKeepsTheLastCheckpoint) {
  const SmallDisk disk(folder.at("disk"));
  if (!disk.mounted) GTEST_SKIP() << "only root may mount a small file system";
  const Args flags =
      kFinetune + Args{"--lora-out", "lora.gguf", "--checkpoint-out", "disk/c.gguf", "--adam-iter", "3"};
  ASSERT_EQ(folder.lora(flags).status, 0);
  const std::string good = folder.read("disk/c.gguf");
  RunOptions options;
  options.signal_on = [&](std::string_view err) {
    if (err.find("iter=     4 ") != err.npos && !folder.has("disk/filler"))
      folder.write("disk/filler", std::string(size_t{3} << 20, 'x'));
    return 0;
  };
  const RunResult run =
      folder.lora(flags + Args{"--checkpoint-in", "disk/c.gguf", "--adam-iter", "30"}, options);
  expect_error(run, 1, "iteration 30 is not saved whole: disk/c.gguf: cannot write: No space left on device");
  EXPECT_THAT(run.err, testing::HasSubstr("the last good checkpoint is disk/c.gguf"));
  EXPECT_EQ(folder.read("disk/c.gguf"), good);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.at("disk")), {}), 2);
  EXPECT_TRUE(folder.has("lora.gguf"));
}

}  // namespace posix_survival_test
}  // namespace lora::test
