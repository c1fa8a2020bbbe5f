// What `lora bench` measures: figures that agree with one another, for a file and for random weights.
#include <cmath>
#include <nlohmann/json.hpp>

#include "cli_test.h"
#include "kernels/dot/int8.h"
#include "tiny_models.h"

namespace lora::test {
namespace bench_test {

using Args = std::vector<std::string>;
using nlohmann::ordered_json;

class Bench : public testing::Test {
 protected:
  Folder folder;

  ordered_json figures(const Args& flags) const {
    const RunResult run = folder.lora(Args{"bench", "--json", "--iterations", "1"} + flags);
    EXPECT_EQ(run.status, 0) << run.err;
    return parse_json(run.out);
  }
};

const Args kFile = {"-m", "model.gguf", "--ctx", "32", "--batch", "2"};
const Args kSmall = {"--synthetic", "llama-1b", "--layers", "1", "--ctx", "16", "--batch", "1"};

void expect_training_figures(const ordered_json& json, int64_t n_tokens) {
  const auto number = [&](const char* key) { return json.at(key).get<double>(); };
  EXPECT_EQ(json.at("tokens"), n_tokens);
  EXPECT_GT(number("step_s"), 0);
  EXPECT_LE(number("min_step_s"), number("step_s"));
  EXPECT_LE(number("min_step_s"), number("late_step_s"));
  EXPECT_NEAR(number("step_s") * number("train_tok_per_s"), double(n_tokens), 1e-6);
  EXPECT_NEAR(number("gflop_per_step"), 4e-9 * number("n_weights") * double(n_tokens), 1e-6);
  EXPECT_NEAR(number("gflops") * number("step_s"), number("gflop_per_step"), 1e-6);
  EXPECT_NEAR(number("share_of_peak"), number("gflops") / number("peak_gflops"), 1e-9);
  EXPECT_GT(number("share_of_peak"), 0);
  EXPECT_GT(number("bytes_beyond_model"), 0);
  int64_t planned = 0;
  for (const auto& [part, bytes] : json.at("memory").items()) planned += bytes.get<int64_t>();
  EXPECT_EQ(planned, json.at("planned_bytes"));
}

TEST_F(Bench, TrainingFiguresOfAFileAgree) {
  const ordered_json json = figures(kFile);
  expect_training_figures(json, 64);
  EXPECT_EQ(json["n_layer"], 6);
  EXPECT_EQ(json["types"], "Q8_0");
  EXPECT_EQ(json["layers_kept"], 6);
  EXPECT_FALSE(json.contains("generate_tok_per_s"));
}

TEST_F(Bench, TrainingFiguresOfRandomWeightsAgree) {
  const ordered_json json = figures(kSmall + Args{"--type", "q4_k_m", "--threads", "2"});
  expect_training_figures(json, 16);
  EXPECT_EQ(json["n_layer"], 1);
  EXPECT_EQ(json["n_layer_whole"], 22);
  EXPECT_EQ(json["n_weights"], 2048 * (2 * 2048 + 2 * 256 + 3 * 5632 + 32000));
  EXPECT_EQ(json["types"], "Q6_K, Q4_K");
  EXPECT_NEAR(json["loss"].get<double>(), std::log(32000.0), 1);  // it knows nothing
}

// The random weights are no part of what is beyond the model, though they lie in the same kind of memory.
TEST_F(Bench, MemoryBeyondTheModelIsNearThePlan) {
  if (LORA_INSTRUMENTED) GTEST_SKIP() << "the memory of a sanitizer or an emulator counts too";
  for (const Args& model : {kSmall, kFile}) {
    const ordered_json json = figures(model + Args{"--threads", "1", "--ctx", "256"});
    const double planned = json["planned_bytes"], measured = json["bytes_beyond_model"];
    EXPECT_LT(measured, planned + 24e6);  // the program itself
    EXPECT_GT(measured, 0.5 * planned);
  }
}

TEST_F(Bench, RecomputationIsExecutedAndNotUseful) {
  const ordered_json kept = figures(kFile + Args{"--no-checkpointing"}),
                     again = figures(kFile + Args{"--use-checkpointing"});
  EXPECT_EQ(kept["layers_kept"], 6);
  EXPECT_EQ(again["layers_kept"], 0);
  EXPECT_EQ(kept["gflop_per_step"], again["gflop_per_step"]);
  // Five layers again without their down-projection: n_embd 256, n_ff 768, 4 of 8 heads for k and v.
  const double per_token = 2e-9 * 5 * 256 * (2 * 256 + 2 * 128 + 2 * 768);
  EXPECT_NEAR(again["executed_gflop_per_step"].get<double>() - kept["executed_gflop_per_step"].get<double>(),
              64 * per_token, 1e-9);
}

TEST_F(Bench, GenerationFiguresAgree) {
  const ordered_json json = figures(Args{"-m", "model.gguf", "--generate", "--prompt", "20", "-n", "3"});
  const auto number = [&](const char* key) { return json.at(key).get<double>(); };
  EXPECT_GT(number("prompt_tok_per_s"), 0);
  EXPECT_NEAR(number("generate_gb_per_s"), number("generate_tok_per_s") * number("weight_bytes") / 1e9, 1e-6);
  EXPECT_NEAR(number("share_of_bandwidth"), number("generate_gb_per_s") / number("read_gb_per_s"), 1e-9);
  EXPECT_NEAR(number("prompt_share_of_peak"), number("prompt_gflops") / number("peak_gflops"), 1e-9);
  EXPECT_GT(number("bytes_beyond_model"), 0);
  EXPECT_FALSE(json.contains("step_s"));
}

// Generation has inputs of its own, whatever training would have.
TEST_F(Bench, GenerationNamesItsInputs) {
  const Args flags = {"-m", "model.gguf", "--generate", "--prompt", "20", "-n", "1"};
  const ordered_json json = figures(flags), exact = figures(flags + Args{"--precision", "f32"});
  EXPECT_FALSE(json.contains("precision")) << "of training";
  EXPECT_EQ(exact["prompt_precision"], "f32");
  EXPECT_EQ(exact["generate_precision"], "f32");
  const bool rounds = int8_dot(Type::Q8_0) != nullptr;
  EXPECT_EQ(json["generate_precision"], rounds ? "int8" : "f32");
  const RunResult table = folder.lora(Args{"bench", "--iterations", "1"} + flags);
  EXPECT_THAT(table.out, testing::ContainsRegex("prompt .*20 tokens, [a-z0-9]+ inputs"));
  EXPECT_THAT(table.out, testing::HasSubstr(rounds ? "(1 tokens, int8 inputs)" : "(1 tokens, f32 inputs)"));
}

TEST_F(Bench, BothCanBeMeasuredInOneRun) {
  const ordered_json json =
      figures(kFile + Args{"--train", "--generate", "--prompt", "8", "--n-predict", "2", "--layers", "2"});
  expect_training_figures(json, 64);
  EXPECT_EQ(json["n_layer"], 2);
  EXPECT_TRUE(json.contains("prompt_tok_per_s"));
  EXPECT_TRUE(json.contains("generate_tok_per_s"));
}

TEST_F(Bench, AProfileAddsUpToAStep) {
  const ordered_json json = figures(kFile + Args{"--profile", "--batch", "8", "--ctx", "64", "-t", "2"});
  double sum = 0;
  for (const auto& [part, s] : json.at("profile").items()) {
    EXPECT_EQ(s.get<double>() > 0, part != "scans") << part;  // which attention is not
    sum += s.get<double>();
  }
  EXPECT_NEAR(sum, json["profiled_step_s"].get<double>(), 0.05 * sum);
  EXPECT_GT(json["decode_s"], 0);
  EXPECT_GT(json["loops"], 6 * 7);  // of each layer, some for each product
  EXPECT_GT(json["loops_s"], 0);
  EXPECT_LE(json["loops_s"], json["profiled_step_s"]);
}

// Convolutions and states have a row of their own.
TEST_F(Bench, AProfileOfScans) {
  const Gguf vocabulary = Gguf::open(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
  for (const auto& [family, attends] :
       {std::pair("mamba2", false), {"lfm2", true}, {"qwen35", true}, {"granitehybrid", true}}) {
    const TinyModel written(*find_architecture(family), folder.at("m.gguf"), {.vocabulary = &vocabulary});
    const Args flags = {"-m", "m.gguf", "--ctx", "32", "--batch", "2", "--profile"};
    const ordered_json profile = figures(flags).at("profile");
    EXPECT_GT(profile.at("scans").get<double>(), 0) << family;
    EXPECT_EQ(profile.at("attention").get<double>() > 0, attends) << family;
    const std::string table = folder.lora(Args{"bench", "--iterations", "1"} + flags).out;
    EXPECT_THAT(table, testing::HasSubstr("convolutions and states along the tokens")) << family;
    EXPECT_EQ(table.find("  attention ") != table.npos, attends) << table;
  }
}

TEST_F(Bench, TheTableSaysTheSameToPeople) {
  const RunResult run = folder.lora(Args{"bench", "--iterations", "1", "--profile"} + kFile);
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, testing::AnyOf("", testing::StartsWith("note: --precision auto")));
  for (const char* part : {"6 of 6 layers, Q8_0", "2 x 32 tokens", "% of the peak", "beyond the model",
                           "gemm_input_gradient", "attention", "decoding the weights"}) {
    EXPECT_THAT(run.out, testing::HasSubstr(part));
  }
}

TEST_F(Bench, WrongUseIsRefused) {
  const auto expect_usage_error = [&](const Args& flags, const std::string& what) {
    expect_error(folder.lora(Args{"bench"} + flags), 2, what);
  };
  expect_usage_error({}, "--model: required, or --synthetic");
  expect_usage_error(kFile + Args{"--synthetic", "llama-1b"}, "--synthetic: not together with --model");
  expect_usage_error(kFile + Args{"--type", "q8_0"}, "--type: only with --synthetic");
  expect_usage_error(kFile + Args{"--profile", "--generate"}, "--profile: only with --train");
  expect_usage_error(kFile + Args{"--iterations", "0"}, "--iterations");
  expect_usage_error(kFile + Args{"--layer", "2"}, "did you mean --layers?");
  const auto expect_failure = [&](const Args& flags, const std::string& what) {
    expect_error(folder.lora(Args{"bench"} + flags), 1, what);
  };
  expect_failure(kFile + Args{"--layers", "7"}, "--layers: 7 of model.gguf, which has 6");
  expect_failure({"--synthetic", "llama-2b"}, "llama-2b: unknown (known: llama-1b");
  expect_failure({"--synthetic", "llama-1b", "--type", "q9"}, "type q9: unknown");
  expect_failure({"-m", "absent.gguf"}, "absent.gguf");
  expect_failure(kFile + Args{"--memory", "1KiB"}, "memory");
}

}  // namespace bench_test
}  // namespace lora::test
