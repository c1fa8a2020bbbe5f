// Runs by several processes of this machine, and what they leave.
#pragma once

#include <fmt/format.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cli_test.h"

namespace lora::test {

using Args = std::vector<std::string>;

class MpiRuns : public testing::Test {
 protected:
  Folder folder;
  void SetUp() override {
    if (!LORA_MPI) GTEST_SKIP() << "MPI was not found when this was built";
    folder.write("text.txt", ship_sentences());
  }

  // Processes share the machine, whatever it has. Each leaves its number in a file pid-RANK; `before` is a
  // shell's command that it runs first.
  RunResult run_by(int n, const Args& args, RunOptions options = {}, const std::string& before = ":") const {
    folder.write("run.sh", before + "\necho $$ >pid-$OMPI_COMM_WORLD_RANK\nexec \"$@\"\n");
    options.directory = folder.path;
    options.environment = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                           {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                           {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
                           {"OMPI_MCA_hwloc_base_binding_policy", "none"}};
    return run_program(Args{LORA_MPIRUN, "-n", std::to_string(n), "/bin/sh", "run.sh", LORA_PROGRAM} + args,
                       options);
  }
  // Sends a signal to a process of a run; false if it is not there.
  bool send(int rank, int signal) const {
    const std::string name = folder.at(fmt::format("pid-{}", rank));
    if (!std::filesystem::exists(name)) return false;
    const int pid = std::atoi(folder.read(fmt::format("pid-{}", rank)).c_str());
    return pid > 0 && ::kill(pid, signal) == 0;
  }
  Args flags(const Args& more) const {
    return kFinetune +
           Args{"--lora-out",
                "lora.gguf",
                "--checkpoint-out",
                "c.gguf",
                "--metrics",
                "m.jsonl",
                "--batch",
                "2",
                "--grad-acc",
                "5",
                "--lora-dropout",
                "0.1",
                "--val-split",
                "0.2",
                "--eval-every",
                "3",
                "--save-best",
                "--fill-with-next-samples",
                "--sample-prompt",
                "The ship",
                "--rank-att-norm",
                "2",
                "-t",
                "1"} +
           more;
  }
  // An evaluation of the file text.txt says the same alone and by so many processes with these flags.
  void expect_same_figures(const std::vector<std::pair<int, Args>>& runs) const {
    for (const Args& what :
         {Args{"--file", "text.txt", "--ctx-size", "32"},
          Args{"--train-data", "text.txt", "--ctx-size", "32", "--sample-start", "The ship"}}) {
      const Args args = Args{"eval", "--model", "model.gguf", "--json"} + what;
      const RunResult alone = folder.lora(args);
      ASSERT_EQ(alone.status, 0) << alone.err;
      for (const auto& [n, more] : runs) {
        const RunResult result = run_by(n, args + more);
        EXPECT_EQ(result.out, alone.out) << n << ": " << result.err;
      }
    }
  }
  void expect_same(const std::map<std::string, std::string>& alone, const std::string& where) const {
    for (const auto& [name, bytes] : alone) EXPECT_TRUE(folder.read(name) == bytes) << name << " " << where;
  }
  std::map<std::string, std::string> outputs() const {
    std::map<std::string, std::string> result;
    for (const char* name : {"lora.gguf", "c.gguf", "lora-BEST.gguf"}) result[name] = folder.read(name);
    return result;
  }
  void remove_outputs() const {
    for (const char* name : {"lora.gguf", "c.gguf", "lora-BEST.gguf", "m.jsonl"})
      std::filesystem::remove(folder.at(name));
  }
};

}  // namespace lora::test
