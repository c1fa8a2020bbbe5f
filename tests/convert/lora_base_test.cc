// A model as Hugging Face has it, as the base of an adapter.
#include "convert/lora_base.h"

#include "converted.h"

namespace lora {
namespace {

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

}  // namespace
}  // namespace lora
