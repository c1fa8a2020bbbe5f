// A model as Hugging Face has it, as the base of an adapter.
#include "convert/lora_base.h"

#include "adapter/peft_test_files.h"
#include "convert/convert_lora.h"
#include "converted.h"

namespace lora {
namespace lora_base_test {

using namespace test;

TEST(LoraBase, OpensTheWeightsOnceForAllTensors) {
  const HfModel& model = model_named("mistral");
  const Folder folder;
  write_hf_folder(model, folder.at("hf"), kVocabulary);
  const BaseWeight weight = open_lora_base(folder.at("hf")).weight();  // and outlives the base
  const auto expect_right = [&](const std::string& layer) {
    EXPECT_EQ(weight("blk." + layer + ".ffn_up.weight"),
              model.tensors.at("model.layers." + layer + ".mlp.up_proj.weight").values);
  };
  expect_right("0");
  fs::remove_all(folder.at("hf"));  // what is mapped stays
  expect_right("1");
}

// What PiSSA took out of the model is found in the folder's weights as in the GGUF's.
TEST(LoraBase, PissaComesFromAFolderAsFromAGguf) {
  const Folder folder;
  write_hf_folder(model_named("mistral"), folder.at("hf"), kVocabulary);
  ConvertOptions to_gguf;
  to_gguf.folder = folder.at("hf");
  to_gguf.outfile = folder.at("base.gguf");
  to_gguf.outtype = "f32";
  convert(to_gguf, {});
  const Gguf base = Gguf::open(folder.at("base.gguf"));
  PeftFiles peft;
  peft.config["init_lora_weights"] = "pissa";
  for (const auto& [module, tensor] : {std::pair("self_attn.q_proj", "blk.0.attn_q.weight"),
                                       {"self_attn.k_proj", "blk.0.attn_k.weight"},
                                       {"mlp.up_proj", "blk.0.ffn_up.weight"}}) {
    peft.pair(std::string("base_model.model.model.layers.0.") + module, base.tensor(tensor).ne[0],
              base.tensor(tensor).ne[1], 2);
  }
  fs::create_directories(folder.at("peft"));
  peft.write(folder.at("peft"));
  std::vector<std::string> lines;
  for (const std::string from : {"hf", "base.gguf"}) {
    ConvertLoraOptions options;
    options.input = folder.at("peft");
    options.base = folder.at(from);
    options.outfile = folder.at(from + "-lora.gguf");
    options.n_threads = 2;
    EXPECT_EQ(convert_lora(options, [&](std::string_view line) { lines.emplace_back(line); }).max_rank, 4);
  }
  EXPECT_THAT(lines, testing::Each(testing::HasSubstr("pissa")));
  EXPECT_EQ(lines.size(), 2u);
  EXPECT_TRUE(folder.read("hf-lora.gguf") == folder.read("base.gguf-lora.gguf"));
}

}  // namespace lora_base_test
}  // namespace lora
