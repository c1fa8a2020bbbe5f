// LoRAs on the experts of mixtures, as PEFT and MLX save them.
#include "adapted.h"

namespace lora {
namespace experts_lora_test {

using namespace test;
using testing::HasSubstr;

// Where a mixture has the number that a layer's experts multiply column `in` with for row `row` of one of
// them. Rows of gate and up follow one another, but take turns in gpt-oss.
struct ExpertWeights {
  HfModel& model;
  bool is_down;
  int64_t n_expert, n_ff, n_embd = 64;
  int64_t n_in() const { return is_down ? n_ff : n_embd; }
  int64_t n_rows() const { return is_down ? n_embd : 2 * n_ff; }

  float& at(int64_t expert, int64_t row, int64_t in) {
    const std::string layer = "model.layers.1.";
    const std::string& family = model.architecture;
    if (family == "gpt-oss") {
      HfStored& all =
          model.tensors.at(layer + (is_down ? "mlp.experts.down_proj" : "mlp.experts.gate_up_proj"));
      return all.values[size_t((expert * n_in() + in) * n_rows() + row)];
    }
    if (family == "granitemoe") {
      HfStored& all = model.tensors.at(layer + (is_down ? "block_sparse_moe.output_linear.weight"
                                                        : "block_sparse_moe.input_linear.weight"));
      return all.values[size_t((expert * n_rows() + row) * n_in() + in)];
    }
    const char* part = is_down ? "down" : row < n_ff ? "gate" : "up";
    if (family == "lfm2moe") {
      const std::string w = fmt::format("{}feed_forward.experts.{}.w{}.weight", layer, expert,
                                        is_down      ? 2
                                        : row < n_ff ? 1
                                                     : 3);
      return model.tensors.at(w).values[size_t((is_down ? row : row % n_ff) * n_in() + in)];
    }
    const std::string name = fmt::format("{}mlp.experts.{}.{}_proj.weight", layer, expert, part);
    const int64_t own_row = is_down ? row : row % n_ff;
    return model.tensors.at(name).values[size_t(own_row * n_in() + in)];
  }
};

// A LoRA on the parameter that holds all experts, as PEFT saves it under `module`. old: by a version before
// 0.19.
void add_parameter(Adapted& adapted, const std::string& module, bool is_down, bool old) {
  ExpertWeights weights{adapted.merged, is_down, 4, config_of(adapted.model).n_expert_ff};
  const int64_t n_all = weights.n_expert * kRank, n_in = weights.n_in(), n_rows = weights.n_rows();
  const int64_t n_of_a = old ? n_rows : n_in, n_of_b = old ? n_in : n_rows;
  const std::string name = "base_model.model." + module;
  adapted.peft.pair(name, n_of_a, n_of_b, n_all);
  const std::vector<float> a = PeftFiles::a_of(name, n_all * n_of_a),
                           b = PeftFiles::b_of(name, n_of_b * n_all);
  for (int64_t e = 0; e < weights.n_expert; ++e) {
    for (int64_t row = 0; row < n_rows; ++row) {
      for (int64_t in = 0; in < n_in; ++in) {
        const int64_t of_a = old ? row : in, of_b = old ? in : row;
        double sum = 0;
        for (int64_t k = 0; k < kRank; ++k) {
          sum += double(a[size_t((e * kRank + k) * n_of_a + of_a)]) *
                 double(b[size_t(of_b * n_all + k * weights.n_expert + e)]);
        }
        weights.at(e, row, in) += float(kScale * sum);
      }
    }
  }
  for (auto& [key, stored] : adapted.merged.tensors) {
    stored.bytes.assign(reinterpret_cast<const char*>(stored.values.data()),
                        stored.values.size() * sizeof(float));
  }
}

TEST(ExpertsLora, OnParametersThatHoldAllExperts) {
  for (const char* family :
       {"qwen3moe", "qwen2moe", "olmoe", "glm4moe", "gpt-oss", "granitemoe", "lfm2moe"}) {
    const bool is_granite = family == std::string("granitemoe"), is_turned = family == std::string("gpt-oss");
    const std::string layer = "model.layers.1.";
    const std::string mlp = family == std::string("lfm2moe") ? "feed_forward" : "mlp";
    const std::string gate_up =
        layer + (is_granite ? "block_sparse_moe.input_linear" : mlp + ".experts.base_layer");
    const std::string down = layer + (is_granite ? "block_sparse_moe.output_linear" : mlp + ".experts");
    Adapted adapted(family);
    add_parameter(adapted, gate_up, false, false);
    add_parameter(adapted, down, true, false);
    adapted.peft.config["target_parameters"] = {"experts.gate_up_proj", "experts.down_proj"};
    for (const std::string base : {"out.gguf", "hf"}) {
      const Adapter adapter = adapted.to_gguf(base);
      EXPECT_EQ(adapter.pairs.size(), 3u) << family;
      EXPECT_EQ(adapter.find("blk.1.ffn_up_exps.weight")->n_slices, 4);
      adapted.expect_as_merged(adapter);
      adapted.to_peft("lora.gguf", "again-" + base, base);
      adapted.expect_same_folders("peft", "again-" + base);
    }
    const auto config = nlohmann::json::parse(adapted.converted.folder.read("again-hf/adapter_config.json"));
    const std::string first =
        is_granite ? layer + "block_sparse_moe.input_linear.weight" : layer + mlp + ".experts.down_proj";
    EXPECT_EQ(config["target_parameters"][0], first);
    EXPECT_EQ(config["target_modules"], nlohmann::json::array());
    EXPECT_EQ(config["r"], kRank);
    if (is_turned) continue;
    Adapted old(family);
    add_parameter(old, gate_up, false, true);
    add_parameter(old, down, true, true);
    old.expect_as_merged(old.to_gguf());
  }
}

TEST(ExpertsLora, OnSingleExpertsModules) {
  for (const char* family : {"qwen3moe", "llama"}) {
    const bool is_mixtral = family == std::string("llama");
    Adapted adapted(family_model(*find_architecture(family), 2, is_mixtral ? "MixtralForCausalLM" : ""));
    const std::string layer =
        is_mixtral ? "model.layers.0.block_sparse_moe.experts." : "model.layers.1.mlp.experts.";
    const std::string gate = is_mixtral ? ".w1" : ".gate_proj", down = is_mixtral ? ".w2" : ".down_proj";
    adapted.add(layer + "2" + gate);
    adapted.add(layer + "0" + gate);
    adapted.add(layer + "3" + down);
    const Adapter adapter = adapted.to_gguf();
    EXPECT_EQ(adapter.pairs.size(), 2u);
    adapted.expect_as_merged(adapter);
    // All experts of a tensor have one rank: the largest.
    adapted.peft.config["rank_pattern"] = {{"1" + gate, 3}};
    adapted.peft.config["alpha_pattern"] = {{"1" + gate, 6}};
    adapted.add(layer + "1" + gate, 3);
    const Adapter more = adapted.to_gguf();
    EXPECT_EQ(more.find(is_mixtral ? "blk.0.ffn_gate_exps.weight" : "blk.1.ffn_gate_exps.weight")->rank, 3);
    adapted.expect_as_merged(more);
    adapted.peft.pair("base_model.model." + layer + "4" + gate, 64, is_mixtral ? 96 : 40, kRank);
    EXPECT_THAT(error_of([&] { adapted.to_gguf(); }), HasSubstr("the model has 4 experts of 64 x"));
  }
}

TEST(ExpertsLora, OfMlxOnStacks) {
  for (const bool is_flat : {false, true}) {
    Adapted adapted("qwen3moe");
    adapted.peft.config = {{"fine_tune_type", "lora"},
                           {"lora_parameters", {{"rank", kRank}, {"scale", kScale}, {"dropout", 0.0}}}};
    const std::string module = "model.layers.1.mlp.switch_mlp.up_proj";
    const std::vector<float> a = numbers(4 * kRank * 64, 1), b = numbers(4 * 40 * kRank, 2);
    adapted.peft.tensor(module + ".lora_a",
                        is_flat ? std::vector<int64_t>{4 * kRank, 64} : std::vector<int64_t>{4, kRank, 64},
                        a);
    adapted.peft.tensor(module + ".lora_b", {4, 40, kRank}, b);
    for (int64_t e = 0; e < 4; ++e) {
      HfStored& weight =
          adapted.merged.tensors.at(fmt::format("model.layers.1.mlp.experts.{}.up_proj.weight", e));
      add_product(weight.values, 40, 64, std::span(a).subspan(size_t(e * kRank * 64)),
                  std::span(b).subspan(size_t(e * 40 * kRank)), kRank, kScale);
      weight.bytes.assign(reinterpret_cast<const char*>(weight.values.data()),
                          weight.values.size() * sizeof(float));
    }
    fs::create_directories(adapted.at("peft"));
    adapted.peft.write(adapted.at("peft"), "adapters.safetensors");
    ConvertLoraOptions o = adapted.options("peft", "out.gguf");
    o.outfile = adapted.at("lora.gguf");
    adapted.run(o);
    adapted.expect_as_merged(read_adapter(o.outfile, Gguf::open(adapted.at("out.gguf"))));
  }
}

TEST(ExpertsLora, OnExpertsThatDoNotFitIsNamed) {
  Adapted adapted("qwen3moe");
  const std::string experts = "base_model.model.model.layers.1.mlp.experts";
  adapted.peft.pair(experts, 64, 60, 4 * kRank);
  EXPECT_THAT(error_of([&] { adapted.to_gguf(); }),
              HasSubstr("module model.layers.1.mlp.experts: expected 64 x 80 of gate_up_proj, 40 x 64 of "
                        "down_proj, found 64 x 60"));
  adapted.peft = {};
  adapted.peft.pair(experts, 40, 64, 5);
  EXPECT_THAT(error_of([&] { adapted.to_gguf(); }), HasSubstr("expected rank 2 for each of 4 experts"));
  // Gate and up of a square: the version tells A from B.
  Adapted square(family_model(*find_architecture("qwen3moe"), 2, "", 32));
  square.peft.pair(experts, 64, 64, 4 * kRank);
  EXPECT_THAT(error_of([&] { square.to_gguf(); }), HasSubstr("without peft_version nothing tells A from B"));
  std::vector<std::vector<float>> up;
  for (const char* version : {"0.18.1", "0.19.0"}) {
    square.peft.config["peft_version"] = version;
    up.push_back(square.to_gguf().find("blk.1.ffn_up_exps.weight")->a);
  }
  EXPECT_NE(up[0], up[1]);
  EXPECT_EQ(up[1], PeftFiles::a_of(experts, 4 * kRank * 64));
}

}  // namespace experts_lora_test
}  // namespace lora
