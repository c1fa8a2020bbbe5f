// What every family does from the command line, with a tiny model of it: trained, gone on with, generated
// from, evaluated, merged, quantized, weighed, inspected.
#include <gtest/gtest.h>

#include "base/regex_test_util.h"
#include "cli_test.h"
#include "tiny_models.h"

namespace lora {
namespace families_test {

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
  EXPECT_THAT(shown, contains_regex("trained by default: [a-z].*, (ffn_|ssm_out)"));
  EXPECT_THAT(expect_good({"tokenize", "-m", "m.gguf", "-p", "a whale"}).out, HasSubstr("whale"));
}

// A model without rotary numbers, and without keys and values, says where flags about them change nothing.
TEST(FlagsOfNoEffect, AreSaid) {
  const Folder folder;
  const Gguf vocabulary = Gguf::open(kBundledModel);
  folder.write("t.txt", ship_sentences());
  for (const auto& [family, keeps_keys] :
       {std::pair("mamba2", false), {"nemotron_h", true}, {"gpt2", true}}) {
    const TinyModel written(*find_architecture(family), folder.at("m.gguf"), {.vocabulary = &vocabulary});
    const Args rope = {"--rope-freq-base", "5000"}, scale = {"--rope-freq-scale", "0.5"};
    const Args train = Args{"--model-base", "m.gguf", "--train-data", "t.txt",       "--sample-start",
                            "<s>",          "--ctx",  "24",           "--adam-iter", "1"};
    const Args finetune = train + Args{"--checkpoint-in", "", "--lora-out", "a.gguf"};
    for (const auto& [flags, name] :
         {std::pair(rope, "--rope-freq-base"), std::pair(scale, "--rope-freq-scale")}) {
      const std::string line =
          std::string("warning: ") + name + ": has no effect, this model turns no heads by position\n";
      for (const Args& command :
           {Args{"finetune"} + finetune, Args{"estimate"} + train,
            Args{"generate", "-m", "m.gguf", "-p", "The", "-n", "2"},
            Args{"eval", "-m", "m.gguf", "-f", "t.txt", "--ctx-size", "32"},
            Args{"train", "m.gguf", "t.txt", "--dry-run"},
            Args{"export-lora", "--model-base", "m.gguf", "--lora", "a.gguf", "-o", "merged.gguf"}}) {
        const RunResult run = folder.lora(command + flags);
        EXPECT_EQ(run.status, 0) << run.err;
        EXPECT_THAT(run.err, HasSubstr(line)) << family << " " << command[0];
        EXPECT_THAT(folder.lora(command).err, testing::Not(HasSubstr("no effect"))) << command[0];
      }
    }
    const char* line = "warning: --cache-type: has no effect, this model keeps no keys and values\n";
    for (const Args& command : {Args{"generate", "-m", "m.gguf", "-p", "The", "-n", "2"},
                                Args{"bench", "-m", "m.gguf", "--generate", "--iterations", "1", "--prompt",
                                     "4", "--n-predict", "2"}}) {
      EXPECT_EQ(folder.lora(command + Args{"--cache-type", "f16"}).err.find(line) == std::string::npos,
                keeps_keys)
          << family << " " << command[0];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, FamilyCommands,
                         testing::ValuesIn(architectures().begin(), architectures().end()),
                         [](const auto& test) {
                           std::string name(test.param->name);
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace families_test
}  // namespace lora
