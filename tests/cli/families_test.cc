// What every family does from the command line, with a tiny model of it: trained, gone on with, generated
// from, evaluated, merged, quantized, weighed, inspected.
#include <gtest/gtest.h>

#include "cli_test.h"
#include "tiny_models.h"

namespace lora {
namespace {

using namespace test;
using testing::HasSubstr;
using Args = std::vector<std::string>;

class FamilyCommands : public testing::TestWithParam<const Architecture*> {
 protected:
  FamilyCommands() {
    const Gguf vocabulary = Gguf::open(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf");
    const TinyModel written(*GetParam(), folder.at("m.gguf"),
                            {.type = Type::Q8_0, .vocabulary = &vocabulary});
    std::string text;
    for (int i = 0; i < 40; ++i) text += fmt::format("The log of day {}: fog, and a whale to the north. ", i);
    folder.write("t.txt", text);
  }

  RunResult expect_good(const Args& args) {
    RunResult run = folder.lora(args);
    EXPECT_EQ(run.status, 0) << run.err;
    return run;
  }

  RunResult finetune(const std::string& out, int64_t iterations) {
    return expect_good({"finetune",
                        "--model-base",
                        "m.gguf",
                        "--train-data",
                        "t.txt",
                        "--ctx",
                        "24",
                        "--batch",
                        "2",
                        "--adam-iter",
                        std::to_string(iterations),
                        "--seed",
                        "3",
                        "--save-every",
                        "2",
                        "--warmup",
                        "1",
                        "--cos-decay-steps",
                        "9",
                        "--adam-alpha",
                        "0.01",
                        "--precision",
                        "f32",
                        "--checkpoint-out",
                        out + ".ckpt",
                        "--checkpoint-in",
                        out + ".ckpt",
                        "--lora-out",
                        out + ".lora"});
  }

  double loss(const Args& more) {
    Args args = {"eval", "--precision", "f32", "-f", "t.txt", "--ctx-size", "64", "--json"};
    args.insert(args.end(), more.begin(), more.end());
    return parse_json(expect_good(args).out).at("nll").get<double>();
  }

  Folder folder;
};

TEST_P(FamilyCommands, AllWork) {
  finetune("whole", 4);
  finetune("half", 2);
  finetune("half", 4);
  EXPECT_EQ(read_file(folder.at("half.lora")), read_file(folder.at("whole.lora")))
      << "a run that was gone on with";

  const double base = loss({"-m", "m.gguf"}), trained = loss({"-m", "m.gguf", "--lora", "whole.lora"});
  EXPECT_LT(trained, base - 1e-3);
  expect_good({"export-lora", "--model-base", "m.gguf", "--lora", "whole.lora", "--outtype", "f32", "-o",
               "merged.gguf"});
  EXPECT_NEAR(loss({"-m", "merged.gguf"}), trained, 2e-5 * trained);
  expect_good({"imatrix", "-m", "m.gguf", "-f", "t.txt", "-o", "i.gguf", "--ctx-size", "64"});
  expect_good({"quantize", "merged.gguf", "q.gguf", "Q4_0", "--imatrix", "i.gguf", "--allow-requantize"});
  EXPECT_NEAR(loss({"-m", "q.gguf"}), trained, 0.2 * trained);

  const Args generate = {"generate", "-m", "m.gguf", "--lora", "whole.lora", "-p",          "The log",
                         "-n",       "12", "--temp", "0",      "--no-echo",  "--ignore-eos"};
  const auto with = [&](const Args& more) {
    Args args = generate;
    args.insert(args.end(), more.begin(), more.end());
    return expect_good(args).out;
  };
  // Gemma 4's windowed layers here have keys of 16 numbers, less than a block.
  const bool divides = std::string_view(GetParam()->name) != "gemma4";
  for (const char* type : {"f16", "f32", "q8_0"}) {
    if (!divides && std::string_view(type) == "q8_0") continue;
    EXPECT_FALSE(with({"--cache-type", type}).empty()) << type;
  }

  const std::string shown = expect_good({"inspect", "m.gguf"}).out;
  EXPECT_THAT(shown, HasSubstr(fmt::format("family: {} ({})", GetParam()->name, GetParam()->models)));
  EXPECT_THAT(shown, testing::ContainsRegex("trained by default: [a-z].*, (ffn_|ssm_out)"));
  EXPECT_THAT(expect_good({"tokenize", "-m", "m.gguf", "-p", "a whale"}).out, HasSubstr("whale"));
}

INSTANTIATE_TEST_SUITE_P(All, FamilyCommands,
                         testing::ValuesIn(architectures().begin(), architectures().end()),
                         [](const auto& test) {
                           std::string name(test.param->name);
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace lora
