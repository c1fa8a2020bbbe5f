// What the commands do to files: what is there already, what another process writes, what a kill leaves.
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include "base/regex_test_util.h"
#include "cli_test.h"

namespace lora::test {
namespace posix_files_test {

namespace fs = std::filesystem;
using Args = std::vector<std::string>;

class PosixOutputFiles : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override { folder.write("text.txt", ship_sentences()); }

  // The commands that write one file, each ending with its name.
  static std::vector<Args> writers(const std::string& out) {
    return {
        {"quantize", "model.gguf", out, "q4_0", "--allow-requantize"},
        {"export-lora", "-m", "model.gguf", "--lora", "adapter.gguf", "-o", out},
        {"convert-lora", "adapter.gguf", "-o", out},
        {"imatrix", "-m", "model.gguf", "-f", "text.txt", "-c", "64", "-o", out},
        kFinetune + Args{"--checkpoint-out", "", "--lora-out", out},
        kFinetune + Args{"--lora-out", "", "--checkpoint-out", out},
        kFinetune + Args{"--lora-out", "", "--checkpoint-out", "", "--metrics", out},
        {"finetune", "-m", "model.gguf", "--checkpoint-in", "c.gguf", "--only-write-lora", "--lora-out", out},
    };
  }
  void make_inputs() {
    const RunResult run = folder.lora(
        kFinetune + Args{"--checkpoint-out", "c.gguf", "--lora-out", "adapter.gguf", "--metrics", "m.jsonl"});
    ASSERT_EQ(run.status, 0) << run.err;
  }
  std::map<std::string, std::string> contents() const {
    std::map<std::string, std::string> result;
    for (const auto& entry : fs::directory_iterator(folder.path)) {
      if (entry.is_regular_file()) result[entry.path().filename().string()] = read_file(entry.path());
    }
    return result;
  }
  mode_t mode_of(const std::string& name) const {
    struct stat st;
    return ::lstat(folder.at(name).c_str(), &st) == 0 ? st.st_mode & 07777 : 0;
  }
};

TEST_F(PosixOutputFiles, AFifoADeviceOrAFolderIsOneErrorBeforeAnyWork) {
  make_inputs();
  ::mkfifo(folder.at("fifo").c_str(), 0666);
  fs::create_symlink("fifo", folder.at("link"));
  fs::create_directories(folder.at("sub"));
  const auto before = contents();
  const std::set<std::string> names = folder.names();
  for (const char* out : {"fifo", "link", "sub", "/dev/null", "/dev/full"}) {
    for (const Args& command : writers(out)) {
      const RunResult run = folder.lora(command, {.timeout_s = 60});
      expect_error(run, 1, std::string(out) + ": cannot write: ");
      EXPECT_EQ(run.err.find('\n'), run.err.size() - 1) << run.err;
    }
  }
  EXPECT_EQ(contents() == before, true);
  EXPECT_EQ(folder.names(), names);
}

TEST_F(PosixOutputFiles, ModeAndLinkStay) {
  make_inputs();
  const std::string metrics = folder.read("m.jsonl");
  folder.write("file", metrics);
  fs::create_symlink("file", folder.at("link"));
  ::chmod(folder.at("file").c_str(), 0640);
  for (const Args& command : writers("link")) {
    // finetune takes an empty file alone: any other may be of another run.
    const std::string before = command[0] == "finetune" ? "" : metrics;
    folder.write("file", before);
    const RunResult run = folder.lora(command);
    ASSERT_EQ(run.status, 0) << run.err;
    EXPECT_TRUE(fs::is_symlink(folder.at("link"))) << command[0];
    EXPECT_EQ(mode_of("file"), mode_t{0640}) << command[0];
    EXPECT_NE(folder.read("file"), before) << command[0];
  }
}

TEST_F(PosixOutputFiles, WhatIsPlantedBesideAnOutputIsNotWrittenTo) {
  make_inputs();
  folder.write("victim", "precious");
  fs::create_symlink("victim", folder.at("o.tmp"));
  fs::create_hard_link(folder.at("victim"), folder.at("o.0123456789abcdef.tmp"));
  for (const Args& command : writers("o")) {
    fs::remove(folder.at("o"));
    const RunResult run = folder.lora(command);
    EXPECT_EQ(run.status, 0) << run.err;
    EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(folder.at("o")))) << command[0];
    EXPECT_EQ(folder.read("victim"), "precious") << command[0];
  }
}

TEST_F(PosixOutputFiles, TwoRunsOfOneNameDoNotMix) {
  make_inputs();
  const Args run =
      kFinetune + Args{"--adam-iter",  "12", "--save-every", "3",      "--save-best", "--val-split", "0.1",
                       "--eval-every", "3",  "--metrics",    "r.jsonl"};
  const Args others[] = {
      {"--lora-out", "ggml-lora-ITERATION-f32.gguf", "--checkpoint-out", "", "--metrics", ""},
      {"--lora-out", "", "--checkpoint-out", "./checkpoint-ITERATION.gguf", "--metrics", ""},
      {"--lora-out", "", "--checkpoint-out", "", "--metrics", folder.at("r.jsonl")},
      {"--lora-out", "ggml-lora-BEST-f32.gguf", "--checkpoint-out", "", "--metrics", ""},
  };
  RunOptions options;
  bool begun = false;
  std::set<std::string> names;
  options.signal_on = [&](std::string_view err) {
    if (begun || err.find("iter=     1 ") == err.npos) return 0;
    begun = true;
    const pid_t first = std::stoi(folder.read("checkpoint-LATEST.gguf.lora-lock"));
    ::kill(first, SIGSTOP);  // it must not end meanwhile
    for (const Args& other : others) {
      const RunResult second = folder.lora(kFinetune + Args{"--adam-alpha", "0.01"} + other);
      expect_error(second, 1, " writes it");
      EXPECT_THAT(second.err, contains_regex("cannot write: process [0-9]+ writes it"));
      EXPECT_EQ(second.err.find('\n'), second.err.size() - 1) << "before anything is read: " << second.err;
    }
    for (const Args& writer : writers("ggml-lora-LATEST-f32.gguf")) {
      const RunResult second = folder.lora(writer);
      expect_error(second, 1, "ggml-lora-LATEST-f32.gguf: cannot write: process ");
    }
    ::kill(first, SIGCONT);
    return 0;
  };
  const RunResult alone = folder.lora(run);
  ASSERT_EQ(alone.status, 0) << alone.err;
  auto expected = contents();
  const RunResult first = folder.lora(run, options);
  ASSERT_EQ(first.status, 0) << first.err;
  ASSERT_TRUE(begun);
  auto found = contents();
  expected.erase("r.jsonl");  // times
  found.erase("r.jsonl");
  EXPECT_EQ(found == expected, true);
  EXPECT_EQ(lines_of(folder.read("r.jsonl")).size(), 12u);
}

// Killed at each moment between two changes of files; with LORA_KILLS at every one, without at every seventh.
TEST_F(PosixOutputFiles, WhereverARunIsKilledTheNextOneEndsWithTheSameFiles) {
  if (LORA_INSTRUMENTED) GTEST_SKIP() << "a sanitizer or an emulator does not let itself be preloaded";
  const Args flags = kFinetune + Args{"--checkpoint-in", "checkpoint-LATEST.gguf",
                                      "--ctx",           "16",
                                      "--batch",         "1",
                                      "--save-every",    "1",
                                      "--val-split",     "0.1",
                                      "--eval-every",    "1",
                                      "--save-best",     "--metrics",
                                      "m.jsonl"};
  const auto run_in = [&](const std::string& name, const RunOptions& options) {
    RunOptions all = options;
    all.directory = folder.at(name);
    fs::create_directories(all.directory);
    Args args = flags;
    args[2] = folder.at("model.gguf");
    args[4] = folder.at("text.txt");
    return lora(args, all);
  };
  const auto files_in = [&](const std::string& name) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(folder.at(name)))
      files[entry.path().filename().string()] = read_file(entry.path());
    if (files.contains("m.jsonl"))
      files["m.jsonl"] = std::to_string(lines_of(files["m.jsonl"]).size());  // times differ
    return files;
  };
  const RunResult whole =
      run_in("whole", {.environment = {{"LD_PRELOAD", KILL_AT}, {"LORA_KILL_COUNT", folder.at("n")}}});
  ASSERT_EQ(whole.status, 0) << whole.err;
  const auto expected = files_in("whole");
  EXPECT_EQ(expected.size(), 8u);
  const int n_calls = std::atoi(folder.read("n").c_str()), step = std::getenv("LORA_KILLS") ? 1 : 7;
  ASSERT_GT(n_calls, 50);
  int n_left = 0;
  for (int at = 1; at <= n_calls; at += step) {
    const std::string name = fmt::format("k{}", at);
    const RunResult killed =
        run_in(name, {.environment = {{"LD_PRELOAD", KILL_AT}, {"LORA_KILL_AT", std::to_string(at)}}});
    ASSERT_EQ(killed.status, 128 + SIGKILL) << killed.err;
    for (const auto& [file, text] : files_in(name)) n_left += file.ends_with(".tmp");
    const RunResult next = run_in(name, {});
    ASSERT_EQ(next.status, 0) << next.err;
    const auto found = files_in(name);
    for (const auto& [file, text] : expected) {
      ASSERT_TRUE(found.contains(file)) << at << ": " << file << " is missing";
      EXPECT_EQ(found.at(file) == text, true) << at << ": " << file;
    }
    for (const auto& [file, text] : found)
      EXPECT_EQ(expected.contains(file), true) << at << ": " << file << " is left";
    fs::remove_all(folder.at(name));
  }
  EXPECT_GT(n_left, 0) << "none was killed while it wrote";
}

}  // namespace posix_files_test
}  // namespace lora::test
