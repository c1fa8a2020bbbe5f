// One model over several processes, each with some of its layers: the same bytes as by one.
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <thread>
#include <tuple>

#include "arch/blocks.h"
#include "base/plural.h"
#include "mpi_runs.h"
#include "tiny_models.h"

namespace lora::test {
namespace pipeline_test {

using testing::HasSubstr;

class Pipelines : public MpiRuns {
 protected:
  // Of the model's file no process has the whole, so that none can continue a prompt.
  Args alone(const Args& more) const {
    Args args = flags({"--grad-acc", "7", "--lora-r", "4"});
    const auto prompt = std::ranges::find(args, "--sample-prompt");
    args.erase(prompt, prompt + 2);
    return args + more;
  }
  RunResult run(int n, int stages, const Args& more, RunOptions options = {}) const {
    return n == 1 ? folder.lora(alone(more), std::move(options))
                  : run_by(n, alone(more) + Args{"--pipeline", std::to_string(stages)}, std::move(options));
  }
  // By one process, and by n in pipelines of so many stages.
  void expect_same_bytes(const std::vector<std::pair<int, int>>& by, const Args& more) const {
    remove_outputs();
    const RunResult one = run(1, 1, more);
    ASSERT_EQ(one.status, 0) << one.err;
    const auto want = outputs();
    for (const auto& [n, stages] : by) {
      remove_outputs();
      const RunResult result = run(n, stages, more);
      ASSERT_EQ(result.status, 0) << result.err;
      expect_same(want, fmt::format("of {} processes, {} stages, {}", n, stages, fmt::join(more, " ")));
      EXPECT_THAT(result.err, HasSubstr(fmt::format("pipeline: {} stages: layers 0 to ", stages)));
    }
  }
  void write_tiny(std::string_view architecture, bool experts) const {
    const Gguf vocabulary = Gguf::open(kBundledModel);
    const TinyModel written(*find_architecture(architecture), folder.at("model.gguf"),
                            {.type = Type::Q8_0, .vocabulary = &vocabulary, .experts = experts});
  }
  // Not one that only waits for somebody to ask how it ended.
  bool is_running(int rank) const {
    std::ifstream status(
        fmt::format("/proc/{}/status", std::atoi(folder.read(fmt::format("pid-{}", rank)).c_str())));
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("State:")) return line.find('Z') == line.npos;
    }
    return false;
  }
  // Bytes of the model's file that a process of a run has mapped in.
  int64_t touched(int rank) const {
    std::ifstream maps(
        fmt::format("/proc/{}/smaps", std::atoi(folder.read(fmt::format("pid-{}", rank)).c_str())));
    int64_t bytes = 0;
    bool is_model = false;
    for (std::string line; std::getline(maps, line);) {
      std::istringstream words(line);
      std::string name;
      int64_t kib = 0;
      words >> name >> kib;
      if (name.find('-') != name.npos) is_model = line.ends_with(".gguf");
      if (is_model && name == "Rss:") bytes += kib << 10;
    }
    return bytes;
  }
};

TEST_F(Pipelines, TheSameBytesByAnyNumberOfStages) {
  expect_same_bytes({{2, 2}, {3, 3}, {4, 2}, {6, 6}},
                    {"--adam-iter", "4", "--rank-tok-embd", "2", "--rank-out-norm", "1", "--neftune", "5"});
}

TEST_F(Pipelines, WhateverIsKeptAndHoweverItIsTrained) {
  for (const Args& more : {Args{"--use-checkpointing"}, Args{"--no-checkpointing"}, Args{"--layers", "2"},
                           Args{"--use-lbfgs", "--lbfgs-iter", "2"}, Args{"--grad-acc", "1"},
                           Args{"--precision", "int8"}, Args{"-t", "2"}})
    expect_same_bytes({{2, 2}, {3, 3}}, Args{"--adam-iter", "2"} + more);
}

TEST_F(Pipelines, ARunGoesOnWithAnotherNumber) {
  const auto go_to = [&](int n, int stages, const char* iterations) {
    return run(n, stages, {"--adam-iter", iterations, "--cos-decay-steps", "6"}).status;
  };
  ASSERT_EQ(go_to(1, 1, "2"), 0);
  ASSERT_EQ(go_to(1, 1, "4"), 0);
  const auto want = outputs();
  for (const auto& [first, stages, second, stages_then] :
       {std::tuple{1, 1, 2, 2}, {2, 2, 1, 1}, {4, 2, 3, 3}, {3, 1, 2, 2}}) {
    remove_outputs();
    ASSERT_EQ(go_to(first, stages, "2"), 0);
    ASSERT_EQ(go_to(second, stages_then, "4"), 0);
    expect_same(want, fmt::format("of {} processes, then {}", first, second));
  }
}

TEST_F(Pipelines, EvaluateTheSame) {
  std::string text;  // of so many windows that stages have several calls under way
  for (int i = 0; i < 6; ++i) text += ship_sentences();
  folder.write("text.txt", text);
  expect_same_figures({{2, {"--pipeline", "2"}}, {3, {"--pipeline", "3"}}, {4, {"--pipeline", "2"}}});
}

TEST_F(Pipelines, AnEvaluationIsStoppedByAnyOfThem) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += ship_sentences();
  folder.write("text.txt", text);
  for (const Args& what :
       {Args{"--file", "text.txt"}, Args{"--train-data", "text.txt", "--sample-start", "The ship"}}) {
    // A process that has not begun is ended at once, so that it is asked later and later.
    std::string err;
    for (int delay = 1; delay <= 16 && err.find("stopped") == err.npos; delay *= 2) {
      std::filesystem::remove(folder.at("pid-1"));
      std::jthread stops([&] {
        std::this_thread::sleep_for(std::chrono::seconds(delay));
        send(1, SIGTERM);
      });
      const RunResult result =
          run_by(2, Args{"eval", "--model", "model.gguf", "--ctx-size", "32", "--pipeline", "2"} + what);
      stops.join();
      EXPECT_NE(result.status, 0) << result.out;
      err = result.err;
    }
    EXPECT_THAT(err, HasSubstr("stopped after "));
  }
}

// A line for each stage; the parts are of the one that takes most.
TEST_F(Pipelines, AnEstimateIsWhatEachStageTakes) {
  const RunResult estimate = folder.lora(Args{"estimate"} + Args(kFinetune.begin() + 1, kFinetune.end()) +
                                         Args{"--grad-acc", "4", "-t", "1", "--pipeline", "2", "--json"});
  ASSERT_EQ(estimate.status, 0) << estimate.err;
  const auto figures = nlohmann::json::parse(estimate.out);
  ASSERT_EQ(figures["stages"].size(), 2u);
  EXPECT_EQ(figures["stages"][0]["memory_bytes"], figures["memory_bytes"]);
  EXPECT_GT(figures["stages"][0]["memory_bytes"], figures["stages"][1]["memory_bytes"]);
  const RunResult result =
      run_by(2, kFinetune + Args{"--grad-acc", "4", "-t", "1", "--pipeline", "2", "--adam-iter", "1"});
  std::smatch match;
  ASSERT_TRUE(std::regex_search(result.err, match, std::regex(R"(needs ([\d.]+) MiB beyond)"))) << result.err;
  if (!LORA_INSTRUMENTED) {  // whose own memory differs
    EXPECT_NEAR(std::stod(match[1]), figures["memory_bytes"].get<double>() / (1 << 20), 2);
  }
}

TEST_F(Pipelines, OtherFamiliesToo) {
  for (const auto& [name, experts] :
       {std::pair{"qwen3moe", true}, {"qwen35", false}, {"granitehybrid", false}}) {
    SCOPED_TRACE(name);
    write_tiny(name, experts);
    expect_same_bytes({{2, 2}, {3, 3}}, {"--adam-iter", "2", "--ctx", "24"});
  }
}

// Its last layers attend to what earlier ones have, and all are told their token again.
TEST_F(Pipelines, LayersThatShareKeysStayTogether) {
  write_tiny("gemma4", false);
  expect_same_bytes({{2, 2}, {4, 2}}, {"--adam-iter", "2", "--ctx", "24", "--neftune", "5"});
  const RunResult refused = run(3, 3, {});
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.err,
              HasSubstr("error: --pipeline: 3 stages: the 5 layers of model.gguf can be parted into 2 at "
                        "most (those that share keys and values stay together)"));
  EXPECT_THAT(run(2, 2, {"--rank-tok-embd", "2"}).err,
              HasSubstr("error: --pipeline: all stages of model.gguf read the token embedding"));
}

TEST_F(Pipelines, WhatCannotBeIsRefused) {
  EXPECT_THAT(run(3, 2, {}).err,
              HasSubstr("error: --pipeline: 2 stages take a multiple of 2 processes, and there are 3"));
  EXPECT_THAT(folder.lora(alone({"--pipeline", "2"})).err, HasSubstr("and there is 1 (mpirun -n N)"));
  EXPECT_THAT(
      run_by(7, alone({"--pipeline", "7"})).err,
      HasSubstr("error: --pipeline: 7 stages: the 6 layers of model.gguf can be parted into 6 at most"));
  EXPECT_THAT(run(2, 2, {"--sample-prompt", "The ship"}).err,
              HasSubstr("error: --sample-prompt: not together with --pipeline"));
  EXPECT_FALSE(folder.has("lora.gguf"));
}

// What a fingerprint looks at is a large part of so small a file, since pages are mapped sixteen at a time;
// that nothing else is read, Family.PartsComputeTheSame shows.
TEST_F(Pipelines, NoProcessReadsTheWholeFile) {
  RunOptions options;
  std::vector<int64_t> bytes;
  options.signal_on = [&](std::string_view err) {
    if (bytes.empty() && err.find("iter=     3") != err.npos) bytes = {touched(0), touched(1), touched(2)};
    return 0;
  };
  const RunResult result = run(3, 3, {"--adam-iter", "4"}, options);
  ASSERT_EQ(result.status, 0) << result.err;
  ASSERT_EQ(bytes.size(), 3u);
  for (const int64_t n : bytes) {
    EXPECT_GT(n, 1 << 20);
    EXPECT_LT(double(n), 0.9 * double(std::filesystem::file_size(kBundledModel)));
  }
}

TEST_F(Pipelines, OneThatIsAskedToStopStopsAllAfterSaving) {
  for (const int rank : {0, 1}) {
    remove_outputs();
    RunOptions options;
    bool sent = false;
    options.signal_on = [&](std::string_view err) {
      if (!sent && err.find("iter=     2") != err.npos) sent = send(rank, SIGTERM);
      return 0;
    };
    const RunResult result = run(2, 2, {"--adam-iter", "4000", "--save-every", "0"}, options);
    EXPECT_NE(result.status, 0);
    EXPECT_THAT(result.err, HasSubstr("it was asked to stop"));
    EXPECT_THAT(result.err, HasSubstr("checkpoint: c.gguf"));
    EXPECT_EQ(folder.lora({"inspect", "c.gguf"}).status, 0);
  }
}

TEST_F(Pipelines, OneThatIsKilledEndsTheOthersSoon) {
  RunOptions options;
  std::chrono::steady_clock::time_point when;
  bool sent = false;
  options.signal_on = [&](std::string_view err) {
    if (!sent && err.find("iter=     2") != err.npos) {
      sent = send(1, SIGKILL);
      when = std::chrono::steady_clock::now();
    }
    return 0;
  };
  const RunResult result = run(3, 3, {"--adam-iter", "4000", "--save-every", "1"}, options);
  EXPECT_NE(result.status, 0);
  ASSERT_TRUE(sent);
  EXPECT_LT(std::chrono::steady_clock::now() - when, std::chrono::seconds(30));
  EXPECT_EQ(folder.lora({"inspect", "c.gguf"}).status, 0);
  for (const int rank : {0, 2}) EXPECT_FALSE(is_running(rank)) << rank;
}

TEST_F(Pipelines, TrainChoosesForAll) {
  const RunResult result =
      run_by(2, {"train", "model.gguf", "text.txt", "-o", "out", "--adam-iter", "2", "--pipeline", "2"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("pipeline: 2 stages"));
  EXPECT_TRUE(folder.has("out.gguf"));
}

}  // namespace pipeline_test
}  // namespace lora::test
