// One run by several processes: the same bytes as by one, and nothing lost when some of them go.
#include <atomic>
#include <chrono>
#include <thread>

#include "kernels/isa.h"
#include "mpi_runs.h"

namespace lora::test {
namespace mpi_test {

using testing::HasSubstr;

using Mpi = MpiRuns;

TEST_F(Mpi, TheSameBytesByAnyNumberOfProcesses) {
  const RunResult one = folder.lora(flags({"--adam-iter", "5"}));
  ASSERT_EQ(one.status, 0) << one.err;
  const auto alone = outputs();
  for (const int n : {2, 3, 4, 7}) {
    remove_outputs();
    const RunResult result = run_by(n, flags({"--adam-iter", "5"}));
    ASSERT_EQ(result.status, 0) << result.err;
    expect_same(alone, fmt::format("of {} processes", n));
    EXPECT_THAT(result.err, HasSubstr(fmt::format("mpi: {} processes on 1 machine", n)));
    EXPECT_EQ(lines_of(folder.read("m.jsonl")).size(), 5u);  // one of them writes
    EXPECT_EQ(result.err.find("2 of 7 processes have nothing to do") != result.err.npos, n == 7);
  }
}

TEST_F(Mpi, ARunGoesOnWithAnotherNumber) {
  const auto run = [&](int n, const char* iterations) {
    const Args args = flags({"--adam-iter", iterations, "--cos-decay-steps", "6"});
    return (n == 1 ? folder.lora(args) : run_by(n, args)).status;
  };
  ASSERT_EQ(run(1, "3"), 0);
  ASSERT_EQ(run(1, "6"), 0);
  const auto alone = outputs();
  for (const auto& [first, second] : {std::pair{1, 3}, {3, 1}, {4, 2}}) {
    remove_outputs();
    ASSERT_EQ(run(first, "3"), 0);
    ASSERT_EQ(run(second, "6"), 0);
    expect_same(alone, fmt::format("of {} processes, then {}", first, second));
  }
}

TEST_F(Mpi, OneThatIsAskedToStopStopsAllAfterSaving) {
  RunOptions options;
  bool sent = false;
  options.signal_on = [&](std::string_view err) {  // not to the one that saves
    if (!sent && err.find("iter=     2") != err.npos) sent = send(2, SIGTERM);
    return 0;
  };
  const RunResult result = run_by(3, flags({"--adam-iter", "4000", "--save-every", "0"}), options);
  EXPECT_NE(result.status, 0);
  EXPECT_THAT(result.err, HasSubstr("it was asked to stop"));
  EXPECT_THAT(result.err, testing::Not(HasSubstr("stopping"))) << "by one that does not speak";
  EXPECT_THAT(result.err, HasSubstr("checkpoint: c.gguf"));
  EXPECT_EQ(folder.lora({"inspect", "c.gguf"}).status, 0);
}

TEST_F(Mpi, EvaluatesTheSame) {
  expect_same_figures({{2, {}}, {3, {}}});
}

TEST_F(Mpi, OtherCommandsSayThatTheyAreForOne) {
  const RunResult result = run_by(2, {"inspect", "model.gguf"});
  EXPECT_NE(result.status, 0);
  EXPECT_THAT(result.err, HasSubstr("error: inspect: works in one process, and 2 were started"));
  EXPECT_EQ(result.err.find("works in one process"), result.err.rfind("works in one process"))
      << "said twice";
}

TEST_F(Mpi, WhatDiffersBetweenMachinesIsNamed) {
  const auto run = [&](const Args& more) {
    return run_by(2, flags(more), {}, "[ $OMPI_COMM_WORLD_RANK = 0 ] || export LORA_ISA=scalar");
  };
  if (supported_isas().size() == 1) GTEST_SKIP() << "the plain loops need none";
  const RunResult refused = run({"--adam-iter", "1"});
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.err, HasSubstr("error: mpi: kernel set (--allow-mixed takes both): "));
  EXPECT_THAT(refused.err, HasSubstr("scalar on process 1 on "));
  EXPECT_FALSE(std::filesystem::exists(folder.at("lora.gguf")));
  const RunResult allowed = run({"--adam-iter", "1", "--allow-mixed"});
  EXPECT_EQ(allowed.status, 0) << allowed.err;
  EXPECT_THAT(allowed.err,
              HasSubstr("note: --allow-mixed: the adapter's bytes depend on who computes what: "));
  EXPECT_THAT(allowed.err, HasSubstr("scalar kernels, int8 inputs in process 1 on "));
  const auto evaluate = [&](const Args& more) {
    return run_by(2, Args{"eval", "--model", "model.gguf", "--file", "text.txt"} + more, {},
                  "[ $OMPI_COMM_WORLD_RANK = 0 ] || export LORA_ISA=scalar");
  };
  EXPECT_THAT(evaluate({}).err, HasSubstr("error: mpi: kernel set (--allow-mixed takes both): "));
  const RunResult evaluated = evaluate({"--allow-mixed"});
  EXPECT_EQ(evaluated.status, 0) << evaluated.err;
  EXPECT_THAT(evaluated.err, HasSubstr("note: --allow-mixed: the figures depend on who computes what: "));
}

TEST_F(Mpi, PrecisionsThatAreMixedAreSaid) {
  const auto run = [&](const std::string& before) {
    return run_by(2, flags({"--adam-iter", "1", "--allow-mixed", "--precision", "f32"}), {}, before);
  };
  const RunResult mixed = run("[ $OMPI_COMM_WORLD_RANK = 0 ] || set -- \"$@\" --precision bf16");
  EXPECT_EQ(mixed.status, 0) << mixed.err;
  EXPECT_THAT(mixed.err,
              testing::ContainsRegex("--allow-mixed: .*bf16 inputs in process 1 on .*; .*f32 inputs in "
                                     "process 0 on "));
  EXPECT_THAT(run(":").err, testing::Not(HasSubstr("--allow-mixed")));
}

// Where one fails the others are sent a signal before they are ended, which is no wish to stop.
TEST_F(Mpi, ARefusalIsOneLine) {
  const RunResult refused = run_by(3, flags({"--adam-iter", "2"}), {},
                                   "[ $OMPI_COMM_WORLD_RANK = 0 ] || set -- \"$@\" --opt-past 3");
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.err, HasSubstr("error: mpi: --opt-past"));
  EXPECT_THAT(refused.err, testing::Not(HasSubstr("stopping")));
}

TEST_F(Mpi, WhatOneIsToldOtherwiseIsNamed) {
  const auto otherwise = [](const std::string& words) {
    return "[ $OMPI_COMM_WORLD_RANK = 0 ] || set -- \"$@\" " + words;
  };
  EXPECT_THAT(run_by(2, flags({"--adam-iter", "2"}), {}, otherwise("--opt-past 3")).err,
              HasSubstr("error: mpi: --opt-past: 0 on process 0 on "));
  for (const auto& [words, error] :
       {std::pair{"--rope-freq-base 20000", "error: mpi: --rope-freq-base: 10000 on process 0 on "},
        {"--precision f32", "error: mpi: --precision: bf16 on process 0 on "},
        {"--pipeline 2", "error: mpi: --pipeline: 1 on process 0 on "}}) {
    const RunResult evaluated =
        run_by(2, {"eval", "--model", "model.gguf", "--file", "text.txt", "--precision", "bf16"}, {},
               otherwise(words));
    EXPECT_NE(evaluated.status, 0);
    EXPECT_EQ(evaluated.out, "");
    EXPECT_THAT(evaluated.err, HasSubstr(error));
  }
  EXPECT_THAT(run_by(2, {"eval", "--model", "model.gguf"}, {},
                     "[ $OMPI_COMM_WORLD_RANK = 0 ] && set -- \"$@\" --file text.txt || "
                     "set -- \"$@\" --train-data text.txt")
                  .err,
              HasSubstr("error: mpi: what is evaluated: --file on process 0 on "));
  // One that fails before it has met the others says why.
  EXPECT_THAT(run_by(2, flags({"--adam-iter", "2"}), {}, otherwise("--config absent.toml")).err,
              HasSubstr("error: process 1: absent.toml"));
}

TEST_F(Mpi, TrainSharesItsBatches) {
  const RunResult result = run_by(2, {"train", "model.gguf", "text.txt", "-o", "out", "--adam-iter", "2"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.err.find("nothing to do"), result.err.npos) << result.err;
}

TEST_F(Mpi, TrainChoosesOnceForAll) {
  const Args args = {
      "train",      "model.gguf", "text.txt", "-o",       "out", "--ctx",  "64", "--batch",
      "2",          "--grad-acc", "4",        "--epochs", "0.5", "--seed", "5",  "--sample-start=--x",
      "--allow-cut"};
  const RunResult by_two = run_by(2, args);
  ASSERT_EQ(by_two.status, 0) << by_two.err;
  const std::string adapter = folder.read("out.gguf");
  for (const std::string& name : folder.names()) {
    if (name.starts_with("out")) std::filesystem::remove(folder.at(name));
  }
  ASSERT_EQ(folder.lora(args).status, 0);
  EXPECT_TRUE(folder.read("out.gguf") == adapter);
}

// Kills one of the processes at a moment that differs; what is there then is whole, and goes on to the same
// bytes.
TEST_F(Mpi, AProcessThatIsKilledLosesNothing) {
  const char* kills = std::getenv("LORA_KILLS");
  const int n_kills = kills ? std::atoi(kills) : 4;
  const Args args = flags({"--adam-iter", "12", "--save-every", "1", "--seed", "3"});
  ASSERT_EQ(folder.lora(args).status, 0);
  const auto alone = outputs();
  remove_outputs();
  std::atomic<int> n_killed = 0;
  for (int i = 0; i < n_kills; ++i) {
    for (const int r : {0, 1, 2}) std::filesystem::remove(folder.at(fmt::format("pid-{}", r)));
    const int n = 2 + i % 2;
    std::jthread killer([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(600 + i * 997 % 2600));
      n_killed += send(i % n, SIGKILL);
    });
    const RunResult result = run_by(n, args);
    killer.join();
    if (result.status == 0) {
      expect_same(alone, "after a run that was not hit");
      remove_outputs();
    }
  }
  EXPECT_GT(n_killed, 0);
  RecordProperty("killed", n_killed);
  const RunResult last = run_by(2, args);
  ASSERT_EQ(last.status, 0) << last.err;
  expect_same(alone, "after all kills");
}

}  // namespace mpi_test
}  // namespace lora::test
