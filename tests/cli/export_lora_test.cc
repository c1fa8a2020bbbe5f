// `lora export-lora` as its users meet it.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/regex_test_util.h"
#include "cli_test.h"

namespace lora::test {
namespace export_lora_test {

using Args = std::vector<std::string>;
using json = nlohmann::ordered_json;
using testing::HasSubstr;
using testing::Not;

const Args kExport = {"export-lora", "--model-base", "f32.gguf", "--model-out", "merged.gguf"};

class ExportLora : public testing::Test {
 protected:
  Folder folder;

  // The bundled model in F32, and an adapter trained on it.
  void SetUp() override {
    folder.write("text.txt", ship_sentences());
    folder.write("plain.txt", ship_sentences(" "));
    run({"quantize", "model.gguf", "f32.gguf", "f32", "--allow-requantize"});
    run(kFinetune + Args{"-m", "f32.gguf", "--adam-iter", "12", "--warmup", "2", "--adam-alpha", "0.01",
                         "--lora-out", "lora.gguf", "--checkpoint-out", "", "--precision", "f32"});
    before = folder.names();
  }
  RunResult run(const Args& args) const {
    RunResult result = folder.lora(args);
    EXPECT_EQ(result.status, 0) << result.err;
    return result;
  }
  double loss(const Args& flags) const {
    return parse_json(
        run(Args{"eval", "-f", "plain.txt", "--json", "--precision", "f32"} + flags).out)["nll"];
  }
  std::string continuation(const Args& flags) const {
    return run(Args{"generate", "-p", "The ship number 7 sailed", "-n", "32", "--temp", "0", "--precision",
                    "f32"} +
               flags)
        .out;
  }
  std::set<std::string> before;
};

TEST_F(ExportLora, TheMergedModelIsTheModelWithItsAdapter) {
  const RunResult merged = run(kExport + Args{"--lora", "lora.gguf"});
  EXPECT_EQ(merged.out, "");
  EXPECT_THAT(merged.err, HasSubstr("merged.gguf: 42 of 57 tensors changed, 27.28 MB"));
  EXPECT_THAT(merged.err, HasSubstr("100.0% of the change is kept"));
  EXPECT_THAT(merged.err, Not(HasSubstr("warning")));
  const double adapted = loss({"-m", "f32.gguf", "--lora", "lora.gguf"});
  EXPECT_LT(adapted, 0.9 * loss({"-m", "f32.gguf"}));
  EXPECT_NEAR(loss({"-m", "merged.gguf"}), adapted, 1e-5 * adapted);
  EXPECT_EQ(continuation({"-m", "merged.gguf"}), continuation({"-m", "f32.gguf", "--lora", "lora.gguf"}));
  // Half of one and as much again of the same is the whole.
  run(kExport + Args{"--lora-scaled", "lora.gguf", "0.5", "--lora-scaled", "lora.gguf", "0.5"});
  EXPECT_NEAR(loss({"-m", "merged.gguf"}), adapted, 1e-5 * adapted);
  before.insert("merged.gguf");
  EXPECT_EQ(folder.names(), before);
}

TEST_F(ExportLora, PeftFoldersAndGglaFilesAreMergedToo) {
  const std::string peft = LORA_SOURCE_DIR "/tests/golden/tiny-peft";
  run(kExport + Args{"--lora", peft});
  const double adapted = loss({"-m", "f32.gguf", "--lora", peft});
  EXPECT_NEAR(loss({"-m", "merged.gguf"}), adapted, 1e-5 * adapted);
}

TEST_F(ExportLora, ItSaysWhatRoundingCosts) {
  const double adapted = loss({"-m", "model.gguf", "--lora", "lora.gguf"});
  const Args base = {"export-lora", "-m", "model.gguf", "-o", "merged.gguf"};
  const RunResult whole = run(base + Args{"--lora", "lora.gguf"});
  EXPECT_THAT(whole.err, Not(HasSubstr("warning")));
  EXPECT_NEAR(loss({"-m", "merged.gguf"}), adapted, 5e-3 * adapted);

  run({"quantize", "f32.gguf", "q4.gguf", "Q4_K_M"});
  const Args small = {"export-lora",   "-m",        "q4.gguf", "-o", "merged.gguf",
                      "--lora-scaled", "lora.gguf", "0.1"};
  const RunResult lost = run(small);
  EXPECT_THAT(lost.err, HasSubstr(" changed tensors lose more than 5% of the change"));
  EXPECT_THAT(lost.err, HasSubstr("--outtype f16 keeps it\n"));
  const RunResult kept = run(small + Args{"--outtype", "F16", "--verbose"});
  EXPECT_THAT(kept.err, Not(HasSubstr("warning")));
  EXPECT_EQ(Gguf::open(folder.at("merged.gguf")).tensor("blk.2.ffn_up.weight").type, Type::F16);
  EXPECT_EQ(Gguf::open(folder.at("merged.gguf")).tensor("output.weight").type, Type::Q6_K);
  int n_lines = 0;
  for (const std::string& line : lines_of(kept.err)) {
    if (!line.starts_with("blk.")) continue;
    ++n_lines;
    EXPECT_THAT(line,
                matches_regex("blk\\.[0-9]\\..*weight .*256.*Q[46]_K -> F16 .*change [0-9.]+%, rounding "
                              "0\\.0[0-9]% of the weights; (99\\.9|100\\.0)% of the change is kept"));
  }
  EXPECT_EQ(n_lines, 42);
}

// Norms are kept by checkpoints alone. The held-out loss is that of the model as it was trained.
TEST_F(ExportLora, ACheckpointIsMergedWithItsNorms) {
  const Args train =
      kFinetune + Args{"-m",          "f32.gguf", "--val-data", "text.txt", "--metrics",   "m.jsonl",
                       "--precision", "f32",      "--warmup",   "1",        "--adam-alpha"};
  const auto held_out = [&](const Args& flags) -> double {
    run(train + flags);
    return parse_json(lines_of(folder.read("m.jsonl")).back())["val_loss"];
  };
  const Args norms = {"0.02",
                      "--adam-iter",
                      "4",
                      "--rank-att-norm",
                      "1",
                      "--rank-ffn-norm",
                      "1",
                      "--rank-out-norm",
                      "2",
                      "--rslora",
                      "--lora-out",
                      "lora.gguf",
                      "--checkpoint-out",
                      "c.gguf"};
  const double trained = held_out(norms);
  const RunResult merged = run(kExport + Args{"--checkpoint", "c.gguf"});
  EXPECT_THAT(merged.err, HasSubstr("merged.gguf: 55 of 57 tensors changed"));
  // A step so small that it changes nothing evaluates the merged model.
  const Args evaluate = {"1e-30", "--adam-iter", "1", "--lora-out", "", "--checkpoint-out", "", "-m"};
  EXPECT_NEAR(held_out(evaluate + Args{"merged.gguf"}), trained, 1e-5 * trained);
  run(kExport + Args{"--lora", "lora.gguf"});  // the adapter file leaves norms out
  EXPECT_GT(std::fabs(held_out(evaluate + Args{"merged.gguf"}) - trained), 1e-4 * trained);

  std::filesystem::remove(folder.at("merged.gguf"));
  expect_error(folder.lora(kExport + Args{"--lora", "lora.gguf", "--checkpoint", "c.gguf"}), 1,
               "lora.gguf: the checkpoint c.gguf holds this adapter already");
  EXPECT_FALSE(folder.has("merged.gguf"));
  const RunResult other = run({"export-lora", "-m", "model.gguf", "-o", "q8.gguf", "--checkpoint", "c.gguf"});
  EXPECT_THAT(other.err, HasSubstr("c.gguf: was trained on another file than model.gguf"));
}

TEST_F(ExportLora, SettingsItWasTrainedWithBecomeTheModels) {
  const Args train = kFinetune + Args{"-m",
                                      "f32.gguf",
                                      "--rope-freq-base",
                                      "20000",
                                      "--rope-freq-scale",
                                      "0.5",
                                      "--norm-rms-eps",
                                      "1e-4",
                                      "--lora-out",
                                      "lora.gguf",
                                      "--checkpoint-out",
                                      "c.gguf"};
  run(train);
  for (const Args& source : {Args{"--lora", "lora.gguf"}, Args{"--checkpoint", "c.gguf"}}) {
    const RunResult merged = run(kExport + source);
    EXPECT_THAT(merged.err, HasSubstr("llama.rope.freq_base: 20000 in the merged model, 10000 in the base"));
    const Gguf model = Gguf::open(folder.at("merged.gguf"));
    EXPECT_EQ(model.get_float("llama.rope.freq_base"), 20000);
    EXPECT_EQ(model.get_float("llama.rope.scaling.factor"), 2);
    EXPECT_EQ(float(*model.get_float("llama.attention.layer_norm_rms_epsilon")),
              source[0] == "--checkpoint" ? 1e-4f : 1e-5f);  // an adapter file does not say
    EXPECT_NEAR(loss({"-m", "merged.gguf", "--rope-freq-base", "10000", "--rope-freq-scale", "1"}),
                loss({"-m", "f32.gguf"}), 0.5);
  }
  run(kExport + Args{"--lora", "lora.gguf"});
  const double adapted = loss({"-m", "f32.gguf", "--lora", "lora.gguf"});
  EXPECT_NEAR(loss({"-m", "merged.gguf"}), adapted, 1e-5 * adapted);
  run(kExport + Args{"--lora", "lora.gguf", "--rope-freq-base", "10000", "--rope-freq-scale", "1"});
  EXPECT_FALSE(Gguf::open(folder.at("merged.gguf")).find("llama.rope.freq_base"));
}

TEST_F(ExportLora, WrongUseIsOneLineAndLeavesNothing) {
  const auto refused = [&](int status, const Args& args, const std::string& what) {
    expect_error(folder.lora(args), status, what);
    EXPECT_EQ(folder.names(), before) << what;
  };
  const Args lora = {"--lora", "lora.gguf"};
  refused(2, kExport, "--lora: required, or --lora-scaled or --checkpoint");
  refused(2, Args{"export-lora", "-m", "f32.gguf"} + lora, "--model-out: required");
  refused(2, Args{"export-lora", "-o", "o.gguf"} + lora, "--model-base: required");
  refused(2, kExport + lora + Args{"--outtype", "q9"}, "--outtype: expected keep or one of Q4_0");
  refused(2, kExport + Args{"--lora-scaled", "lora.gguf"}, "--lora-scaled: expected FILE:SCALE after it");
  refused(2, kExport + lora + Args{"--lora-scale", "2"}, "did you mean --lora-scaled");
  refused(2, kExport + Args{"--lora-scaled", "lora.gguf", "much"}, "--lora-scaled: expected a number");
  refused(1, kExport + Args{"--lora", "none.gguf"}, "none.gguf: cannot open");
  refused(1, kExport + Args{"--checkpoint", "none.gguf"}, "none.gguf: cannot open");
  refused(1, kExport + Args{"--lora", "text.txt"}, "text.txt: not an adapter");
  refused(1, kExport + Args{"--lora", "f32.gguf"}, "not a LoRA adapter");
  refused(1, kExport + lora + Args{"-o", "f32.gguf"}, "f32.gguf: the output would replace");
  refused(1, kExport + lora + Args{"-o", "./lora.gguf"}, "lora.gguf: the output would replace");
  refused(1, kExport + lora + Args{"-o", "no/merged.gguf"}, "no/merged.gguf");
  refused(1, kExport + lora + Args{"-m", "lora.gguf"}, "lora.gguf: holds 'adapter', expected a model");
  refused(1, kExport + Args{"--lora-scaled", "lora.gguf", "1e39", "--outtype", "f16"},
          "lora.gguf: a scale of");
  const std::string bytes = folder.read("lora.gguf");
  folder.write("cut.gguf", bytes.substr(0, bytes.size() / 2));
  before.insert("cut.gguf");
  refused(1, kExport + Args{"--lora", "cut.gguf"}, "cut.gguf: ");
  if (!is_posix()) return;
  // A limit on the size of files stands for a full disk.
  const std::string command = "ulimit -f 4096; exec \"$0\" \"$@\"";
  const RunResult full =
      run_program(Args{"/bin/sh", "-c", command, LORA_PROGRAM} + kExport + lora, {.directory = folder.path});
  expect_error(full, 1, "merged.gguf: cannot write: File too large");
  EXPECT_EQ(folder.names(), before);
}

TEST_F(ExportLora, AnAdapterOfAnotherModelIsRefused) {
  write_edited_model(folder.at("other.gguf"), {.edit_value = [](const std::string& key, GgufValue& value) {
                       if (key == "general.architecture") value.value = "qwen2";
                       return true;
                     }});
  expect_error(folder.lora(kExport + Args{"-m", "other.gguf", "--lora", "lora.gguf"}), 1,
               "lora.gguf: architecture: expected qwen2 as in other.gguf, found llama");
  EXPECT_FALSE(folder.has("merged.gguf"));
}

}  // namespace export_lora_test
}  // namespace lora::test
