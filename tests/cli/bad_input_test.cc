// Files that are no models, adapters or checkpoints.
#include "bad_input.h"

namespace lora::test {
namespace bad_input_test {

// Files that are no model, each with every command that takes one.
std::vector<Case> bad_models() {
  struct Bad {
    std::string name;
    Make make;
    std::string says;
    bool inspect_works = false, tokenize_works = false;
  };
  const auto nan_weights = [](const std::string& name, std::string& data) {
    if (name == "blk.2.ffn_up.weight") data[1] = '\x7e';  // the scale of a Q8_0 block: f16
  };
  const auto mamba = [](const std::string& key, GgufValue& value) {
    if (key == "general.architecture") value.value = std::string("mamba");
    return true;
  };
  const std::vector<Bad> bad = {
      {"Missing", nothing, "bad.gguf: cannot open: No such file"},
      {"Empty", file("bad.gguf", ""), "bad.gguf: "},
      {"NotGguf", file("bad.gguf", "PK\x03\x04 an archive, say, of some length"), "bad.gguf: "},
      {"Folder", [](const Folder& f) { std::filesystem::create_directory(f.at("bad.gguf")); },
       "bad.gguf: cannot open: "},
      {"CutInHeader", truncated("GGUF", 10), "bad.gguf: "},
      {"CutInMetadata", truncated("tokenizer.ggml.tokens", 5000), "bad.gguf: "},
      {"CutInTensorTable", truncated("blk.3.ffn_up.weight", 30), "bad.gguf: "},
      {"CutInData", truncated("", read_file(kBundledModel).size() - 1), "bad.gguf: "},
      {"Version1", with_version(std::string("\1\0\0\0", 4)), "bad.gguf: GGUF version 1"},
      {"BigEndian", with_version(std::string("\0\0\0\3", 4)), "bad.gguf: big-endian"},
      {"WrongArchitecture", edited({.edit_value = mamba}), "bad.gguf: architecture 'mamba' is not supported",
       true, true},
      {"VocabularyOnly", [](const Folder& f) { write_vocabulary(f.at("bad.gguf")); }, "token_embd.weight",
       true, true},
      {"NanWeights", edited({.edit_data = nan_weights}), "nan", true, true},
      {"AdapterAsModel",
       [](const Folder& f) {
         trained(f);
         std::filesystem::rename(f.at("adapter.gguf"), f.at("bad.gguf"));
       },
       "bad.gguf: general.type is 'adapter'", true},
      {"CheckpointAsModel",
       [](const Folder& f) {
         trained(f);
         std::filesystem::rename(f.at("saved.gguf"), f.at("bad.gguf"));
       },
       "bad.gguf: general.type is 'checkpoint'", true},
  };
  std::vector<Case> cases;
  const Args model = {"-m", "bad.gguf"};
  for (const Bad& b : bad) {
    cases.push_back({b.name + "Finetune", b.make, kFinetune + model, kFailed, b.says});
    cases.push_back({b.name + "Generate", b.make, kGenerate + model, kFailed, b.says});
    cases.push_back({b.name + "Eval", b.make, kEval + model, kFailed, b.says});
    cases.push_back({b.name + "Tokenize",
                     b.make,
                     {"tokenize", "-m", "bad.gguf", "-p", "a"},
                     b.tokenize_works ? kWorks : kFailed,
                     b.tokenize_works ? "" : "bad.gguf"});
    cases.push_back({b.name + "Inspect",
                     b.make,
                     {"inspect", "bad.gguf"},
                     b.inspect_works ? kWorks : kFailed,
                     b.inspect_works      ? "general.architecture"
                     : b.name == "Folder" ? "bad.gguf: a folder, and not that of a Hugging Face model"
                                          : b.says});
  }
  return cases;
}

std::vector<Case> adapters() {
  return {
      {"LoraMissing", nothing, kGenerate + Args{"--lora", "none.gguf"}, kFailed, "none.gguf"},
      {"LoraTextFile", nothing, kGenerate + Args{"--lora", "text.txt"}, kFailed, "text.txt"},
      {"LoraEmptyFolder", nothing, kGenerate + Args{"--lora", "."}, kFailed, "adapter_config.json"},
      {"LoraOfOtherWidth", adapter("llama", 64), kGenerate + Args{"--lora", "adapter.gguf"}, kFailed,
       "adapter.gguf: tensor blk.0.attn_q.weight"},
      {"LoraOfOtherArchitecture", adapter("qwen2", 256), kGenerate + Args{"--lora", "adapter.gguf"}, kFailed,
       "adapter.gguf: "},
      {"LoraThatFits", adapter("llama", 256), kGenerate + Args{"--lora", "adapter.gguf"}, kWorks, "The ship"},
      {"LoraTwice", trained, kGenerate + Args{"--lora", "adapter.gguf", "--lora", "adapter.gguf"}, kWorks,
       "The ship"},
      {"LoraIsAModel", nothing, kEval + Args{"--lora", "model.gguf"}, kFailed, "model.gguf: "},
      {"LoraIsACheckpoint", trained, kEval + Args{"--lora", "saved.gguf"}, kFailed, "saved.gguf: "},
      {"LoraScaleIsNoNumber", trained, kGenerate + Args{"--lora-scaled", "adapter.gguf", "abc"}, kUsage,
       "--lora-scaled: "},
      {"LoraScaleMissing", trained, kGenerate + Args{"--lora-scaled", "adapter.gguf"}, kUsage,
       "--lora-scaled: "},
      {"LoraInitMissing", nothing, kFinetune + Args{"--lora-init", "none.gguf"}, kFailed, "none.gguf"},
      {"LoraInitOfOtherRank", trained, kFinetune + Args{"--lora-init", "adapter.gguf", "--lora-r", "8"},
       kFailed, "--lora-r: 8 was asked for, adapter.gguf has rank 4"},
      {"LoraInitOfOtherRankOfAKind", trained,
       kFinetune + Args{"--lora-init", "adapter.gguf", "--rank-wo", "3"}, kFailed,
       "--rank-wo: 3 was asked for"},
      {"LoraInitOfOtherAlpha", trained, kFinetune + Args{"--lora-init", "adapter.gguf", "--lora-alpha", "8"},
       kFailed, "--lora-alpha: 8 was asked for"},
      {"CheckpointIsAnAdapter", trained, kFinetune + Args{"--checkpoint-in", "adapter.gguf"}, kFailed,
       "adapter.gguf: not a checkpoint"},
      {"CheckpointIsAText", nothing, kFinetune + Args{"--checkpoint-in", "text.txt"}, kFailed, "text.txt: "},
      {"CheckpointOfOtherRank", trained, kFinetune + Args{"--checkpoint-in", "saved.gguf", "--lora-r", "8"},
       kFailed, "saved.gguf: --rank-wq differs"},
      {"CheckpointMissing", nothing, kFinetune + Args{"--checkpoint-in", "none.gguf"}, kWorks,
       "no file none.gguf, training starts from scratch"},
  };
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (const auto& part : {bad_models(), adapters()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

class BadInput : public testing::TestWithParam<Case> {};

TEST_P(BadInput, WorksOrIsOneClearErrorThatLeavesNothingBehind) {
  expect_case(GetParam());
}

INSTANTIATE_TEST_SUITE_P(All, BadInput, testing::ValuesIn(all_cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace bad_input_test
}  // namespace lora::test
