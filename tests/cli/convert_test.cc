// lora convert on the command line. What it makes of a folder is tested in tests/convert/.
#include "cli_test.h"
#include "hf_models.h"

namespace lora::test {
namespace convert_test {

using testing::HasSubstr;

struct HfFolder : Folder {
  HfFolder() {
    for (const HfModel& model : make_hf_models()) {
      if (model.name == "smollm") write_hf_folder(model, at("smollm"), kBundledModel);
    }
  }
};

TEST(ConvertCommand, ADefaultNameAndAModelThatRuns) {
  const HfFolder folder;
  const RunResult run = folder.lora({"convert", "smollm/"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, HasSubstr("smollm-BF16.gguf: llama, 4096 tokens, 20 tensors, BF16"));
  const RunResult next =
      folder.lora({"generate", "-m", "smollm-BF16.gguf", "-p", "The", "-n", "3", "--ignore-eos"});
  EXPECT_EQ(next.status, 0) << next.err;
}

TEST(ConvertCommand, TrainsOnWhatItWrote) {
  const HfFolder folder;
  ASSERT_EQ(
      folder.lora({"convert", "smollm", "--outtype=Q8_0", "--concurrency", "2", "--outfile", "new.gguf"})
          .status,
      0);
  folder.write("text.txt", ship_sentences());
  const RunResult run = folder.lora(
      kFinetune + std::vector<std::string>{"-m", "new.gguf", "--checkpoint-out", "", "--lora-out", "l.gguf"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_TRUE(folder.has("l.gguf"));
}

TEST(ConvertCommand, SplitFilesAreNamedAsProgramsLookForThem) {
  const HfFolder folder;
  const RunResult run = folder.lora({"convert", "smollm", "-o", "s.gguf", "--split-max-size", "1MiB"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("s-00001-of-"));
  EXPECT_FALSE(folder.has("s.gguf"));
}

TEST(ConvertCommand, WrongUseIsOneErrorLine) {
  const HfFolder folder;
  const std::set<std::string> before = folder.names();
  expect_error(folder.lora({"convert"}), 2, "DIR");
  expect_error(folder.lora({"convert", "smollm", "--outtype", "q4_k"}), 2,
               "expected f32, f16, bf16, q8_0 or auto, found 'q4_k'");
  expect_error(folder.lora({"convert", "nowhere"}), 1, "nowhere: not a folder");
  expect_error(folder.lora({"convert", "model.gguf"}), 1, "model.gguf: not a folder");
  expect_error(folder.lora({"convert", "."}), 1, "./config.json: cannot open");
  expect_error(folder.lora({"convert", "smollm", "-o", "none/out.gguf"}), 1, "none/out.gguf");
  folder.write("smollm/pytorch_model.bin", "version https://git-lfs.github.com/spec/v1\n");
  expect_error(folder.lora({"convert", "smollm"}), 1, "git-lfs");
  EXPECT_EQ(folder.names(), before);
}

}  // namespace convert_test
}  // namespace lora::test
