// Adapters of every family, from PEFT to GGUF and back: what they add to each tensor is what a model merged
// at Hugging Face has more than the model, converted.
#include <algorithm>
#include <cmath>

#include "adapted.h"
#include "adapter/adapter.h"
#include "adapter/pairs.h"
#include "adapter/peft_test_files.h"
#include "arch/hf.h"
#include "convert/convert_lora.h"
#include "converted.h"
#include "gguf/safetensors.h"

namespace lora {
namespace families_lora_test {

using namespace test;
using testing::HasSubstr;

class EveryFamilysLora : public testing::TestWithParam<const Architecture*> {};

TEST_P(EveryFamilysLora, AddsTheSameThereAndBack) {
  Adapted adapted(*GetParam());
  std::vector<std::string> modules;
  const auto roots = GetParam()->hf->root;
  for (const auto& [name, stored] : adapted.model.tensors) {
    const std::string module = name.substr(0, name.rfind('.'));
    const bool is_table = std::ranges::any_of(
        roots.first(roots.size() - 1), [&](const HfModule& root) { return module.ends_with(root.hf); });
    const bool is_matrix = stored.shape.size() == 2 && name.ends_with(".weight");
    const bool is_expert = name.find(".experts.") != name.npos;  // experts_lora_test.cc
    bool is_router = false;                                      // below
    for_each_layer_module(*GetParam()->hf, [&](const HfModule& m) {
      is_router = is_router || (m.is_router && module.ends_with(m.hf));
    });
    if (is_matrix && !is_expert && !is_table && !is_router) modules.push_back(module);
  }
  for (const std::string& module : modules) adapted.add(module);
  for (const std::string base : {"out.gguf", "hf"}) {
    const Adapter adapter = adapted.to_gguf(base);
    adapted.expect_as_merged(adapter);
    adapted.to_peft("lora.gguf", "again-" + base, base);
    adapted.expect_same_folders("peft", "again-" + base);
  }
  EXPECT_THAT(adapted.said, testing::ElementsAre(HasSubstr("base_model_name_or_path is left empty")))
      << "nothing is joined, nothing left out";
}

std::string family_name(const testing::TestParamInfo<const Architecture*>& family) {
  std::string name(family.param->name);
  std::ranges::replace(name, '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Hf, EveryFamilysLora, testing::ValuesIn(hf_families()), family_name);

// Read, from files of before routers were parameters there; not written, since nothing would load it.
TEST(FamilyLora, OfRoutersIsNotWrittenForPeft) {
  for (const char* family : {"qwen3moe", "gpt-oss", "glm4moe"}) {
    Adapted adapted(family);
    const std::string gate = family == std::string("gpt-oss") ? "router" : "gate";
    adapted.add("model.layers.1.mlp." + gate);
    adapted.expect_as_merged(adapted.to_gguf());
    try {
      adapted.to_peft("lora.gguf", "again");
      ADD_FAILURE() << family;
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr("ffn_gate_inp.weight: a router"));
    }
  }
}

// Phi models are also shared with q, k and v, and gate and up, as modules of their own.
TEST(FamilyLora, ModulesThatAreRowsOfATensorAreJoined) {
  Adapted adapted("phi3");
  adapted.peft.config["rank_pattern"] = {{"k_proj", 3}};
  adapted.peft.config["alpha_pattern"] = {{"v_proj", 1}};
  const std::string layer = "model.layers.1.";
  HfStored& qkv = adapted.merged.tensors.at(layer + "self_attn.qkv_proj.weight");
  HfStored& gate_up = adapted.merged.tensors.at(layer + "mlp.gate_up_proj.weight");
  const auto add = [&](const std::string& module, HfStored& weight, int64_t first, int64_t n, int64_t rank,
                       double alpha) {
    const std::string name = "base_model.model." + layer + module;
    const int64_t n_in = weight.shape[1];
    adapted.peft.pair(name, n_in, n, rank);
    std::vector<float> rows(weight.values.begin() + first * n_in, weight.values.begin() + (first + n) * n_in);
    add_product(rows, n, n_in, PeftFiles::a_of(name, rank * n_in), PeftFiles::b_of(name, n * rank), rank,
                alpha / double(rank));
    std::ranges::copy(rows, weight.values.begin() + first * n_in);
  };
  add("self_attn.q_proj", qkv, 0, 64, 2, 4);
  add("self_attn.k_proj", qkv, 64, 32, 3, 4);
  add("self_attn.v_proj", qkv, 96, 32, 2, 1);
  add("mlp.up_proj", gate_up, 96, 96, 2, 4);  // alone: gate stays
  for (HfStored* weight : {&qkv, &gate_up}) {
    weight->bytes.assign(reinterpret_cast<const char*>(weight->values.data()),
                         weight->values.size() * sizeof(float));
  }
  const Adapter adapter = adapted.to_gguf();
  EXPECT_EQ(adapter.find("blk.1.attn_qkv.weight")->rank, 7);
  EXPECT_EQ(adapter.find("blk.1.ffn_up.weight")->rank, 2);
  adapted.expect_as_merged(adapter);
  EXPECT_THAT(adapted.said, testing::ElementsAre(HasSubstr(
                                "4 modules are rows of 2 tensors of the model: joined, their ranks add up")));
  // A LoRA on the whole as well cannot be meant.
  adapted.add(layer + "self_attn.qkv_proj");
  adapted.write_peft();
  ConvertLoraOptions o = adapted.options("peft", "out.gguf");
  o.outfile = adapted.at("twice.gguf");
  EXPECT_THAT(error_of([&] { adapted.run(o); }), HasSubstr("has a LoRA as a whole, too"));
}

// InternLM 2 has one module where GGUF has three tensors: trained apart, they have A of their own.
TEST(FamilyLora, TensorsThatAreOneModuleAreJoined) {
  for (const char* family : {"internlm2", "baichuan"}) {
    Adapted adapted(family);
    Adapter trained;
    trained.architecture = family;
    trained.alpha = 4;
    for (const auto& [tensor, n_out, rank] :
         {std::tuple("blk.0.attn_q.weight", 64, 2), {"blk.0.attn_v.weight", 32, 3}}) {
      const uint64_t stream = stream_id(tensor);
      trained.pairs.push_back(
          {tensor, 64, n_out, rank, numbers(64 * rank, stream), numbers(n_out * rank, stream + 1)});
    }
    write_adapter_gguf(trained, adapted.at("trained.gguf"));
    adapted.to_peft("trained.gguf", "peft");
    EXPECT_THAT(adapted.said, testing::ElementsAre(HasSubstr("base_model_name_or_path is left empty"),
                                                   HasSubstr("their ranks add up")));
    // As it is read again, q, k and v share A of rank 5.
    ConvertLoraOptions o = adapted.options("peft", "out.gguf");
    o.outfile = adapted.at("lora.gguf");
    adapted.run(o);
    const Gguf gguf = Gguf::open(adapted.at("out.gguf"));
    const Adapter again = read_adapter(o.outfile, gguf);
    EXPECT_EQ(again.pairs.size(), 3u);
    for (const char* tensor : {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"}) {
      EXPECT_EQ(again.find(tensor)->rank, 5);
      const std::vector<float> found = with_adapter(gguf, again, tensor),
                               want = with_adapter(gguf, trained, tensor);
      for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(found[i], want[i], 1e-5) << tensor;
    }
  }
}

TEST(FamilyLora, OfTheTextPartIsSaid) {
  Adapted adapted("gemma3");
  adapted.add("model.layers.0.mlp.up_proj");
  adapted.to_gguf();
  auto text = adapted.model.config;
  const nlohmann::ordered_json config = {{"architectures", {"Gemma3ForConditionalGeneration"}},
                                         {"text_config", text}};
  adapted.converted.folder.write("hf/config.json", config.dump());
  adapted.to_peft("lora.gguf", "again", "hf");
  EXPECT_THAT(adapted.said, testing::ElementsAre(HasSubstr("modules are named as in that alone")));
}

TEST(FamilyLora, WhatCannotBeExpressedIsNamed) {
  Adapted adapted("internlm2");
  adapted.add("model.layers.0.attention.wqkv");
  adapted.peft.config["init_lora_weights"] = "pissa";
  EXPECT_THAT(error_of([&] { adapted.to_gguf(); }),
              HasSubstr("pissa: module model.layers.0.attention.wqkv is not one tensor of the model"));
  // Norms and the like, trained whole: gains that lack one are not GGUF's either.
  Adapted gemma("gemma");
  gemma.add("model.layers.0.self_attn.q_proj");
  gemma.peft.tensor("base_model.model.model.norm.weight", {64}, numbers(64, 1));
  EXPECT_THAT(error_of([&] { gemma.to_gguf(); }),
              testing::AllOf(HasSubstr("model.norm.weight"), HasSubstr("whole modules beside the LoRA")));
}

}  // namespace families_lora_test
}  // namespace lora
