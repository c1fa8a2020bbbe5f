// What is read from a PEFT folder and written as one is the same adapter, to the byte where one alpha does.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "adapter/adapter.h"
#include "adapter/adapter_test_util.h"
#include "arch/architecture.h"
#include "arch/hf.h"
#include "gguf/safetensors.h"

namespace lora {
namespace adapter_peft_write_test {

using nlohmann::ordered_json;
using testing::HasSubstr;

const PeftBase kBase = {"llama", 4, 2};
const std::string kLayer = "base_model.model.model.layers.";

ordered_json config_in(const std::string& folder) {
  return ordered_json::parse(read_file(folder + "/adapter_config.json"));
}

// Every tensor of the first folder is in the second, the same bytes.
void expect_same_tensors(const std::string& first, const std::string& second) {
  const SafeTensors a = SafeTensors::open(first + "/adapter_model.safetensors");
  const SafeTensors b = SafeTensors::open(second + "/adapter_model.safetensors");
  EXPECT_EQ(a.tensors().size(), b.tensors().size());
  for (const SafeTensor& tensor : a.tensors()) {
    const SafeTensor* found = b.find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->dtype, tensor.dtype);
    EXPECT_EQ(found->shape, tensor.shape) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(found->data, tensor.data)) << tensor.name;
  }
}

struct RoundTrip : testing::Test {
  ScratchFolder scratch;
  PeftFiles peft;
  std::string first = scratch.file("first"), second = scratch.file("second");
  Adapter adapter{};

  void run(const PeftBase& base = kBase, int64_t n_layer = 2) {
    std::filesystem::create_directories(first);
    std::filesystem::create_directories(second);
    peft.write(first);
    // Through the file as well.
    write_adapter_gguf(read_adapter_peft(first, base), scratch.file("a.gguf"));
    adapter = read_adapter_gguf(scratch.file("a.gguf"));
    write_adapter_peft(adapter, base, n_layer, second);
  }
};

TEST_F(RoundTrip, TensorsAreTheSameBytes) {
  for (const char* layer : {"0.", "1."}) {
    peft.pair(kLayer + layer + "self_attn.q_proj", 24, 24, 2);
    peft.pair(kLayer + layer + "self_attn.k_proj", 24, 12, 2);
    peft.pair(kLayer + layer + "mlp.down_proj", 30, 24, 2);
  }
  peft.pair("base_model.model.lm_head", 24, 50, 2);
  peft.tensor("base_model.model.model.embed_tokens.lora_embedding_A", {2, 50}, numbers(100, 1));
  peft.tensor("base_model.model.model.embed_tokens.lora_embedding_B", {24, 2}, numbers(48, 2));
  peft.config["base_model_name_or_path"] = "some/model";
  run();
  expect_same_tensors(first, second);
  const ordered_json config = config_in(second);
  EXPECT_EQ(config["peft_type"], "LORA");
  EXPECT_EQ(config["r"], 2);
  EXPECT_EQ(config["lora_alpha"], 4);
  EXPECT_EQ(config["base_model_name_or_path"], "some/model");
  EXPECT_EQ(config["rank_pattern"], ordered_json::object());
  EXPECT_EQ(config["target_modules"],
            (ordered_json{"down_proj", "embed_tokens", "k_proj", "lm_head", "q_proj"}));
}

TEST_F(RoundTrip, OfEveryArchitecture) {
  for (const Architecture* row : architectures()) {
    if (!row->hf) continue;
    peft = {};
    std::set<std::string_view> tensors;  // that have a module already
    for_each_layer_module(*row->hf, [&](const HfModule& module) {
      const bool is_first =
          module.of_hf == Rows::all || module.of_hf == Rows::q || module.of_hf == Rows::gate;  // of several
      const bool is_matrix = module.n_out != Dim::none && module.n_in != Dim::none;
      if (!is_matrix || module.of_gguf != Rows::all || !is_first || module.stack != Stack::none) return;
      if (module.is_router || !module.is_linear()) return;  // not written
      if (module.delta != DeltaOrder::as_is) return;  // of heads: EveryFamilysLora has them in their shapes
      if (!tensors.insert(module.gguf).second) return;
      int n_same = 0;  // tensors that it is in one model or another
      bool is_second_name = false;
      for_each_layer_module(*row->hf, [&](const HfModule& other) {
        is_second_name |= module.of_adapters && !other.of_adapters && other.gguf == module.gguf;
        n_same += other.hf == module.hf && other.of_hf == module.of_hf && other.of_gguf == Rows::all;
      });
      if (n_same > 1 || is_second_name) return;  // needs the base, too; or is written under the first
      const std::string layer = fmt::format("base_model.model.{}{}1.", row->hf->prefix, row->hf->layers);
      peft.pair(layer + std::string(module.hf), 6, module.of_hf == Rows::all && !module.grouped ? 24 : 32, 2);
    });
    run({std::string(row->name), 4, 2});
    EXPECT_EQ(adapter.architecture, row->name);
    expect_same_tensors(first, second);
  }
}

TEST_F(RoundTrip, RsLoraKeepsItsBytesUnderAnAlphaOfItsOwn) {
  peft.config = plain_config(4, 6);
  peft.config["use_rslora"] = true;
  peft.pair(kLayer + "0.mlp.up_proj", 24, 30, 4);
  peft.pair(kLayer + "1.mlp.up_proj", 24, 30, 4);
  run();
  expect_same_tensors(first, second);
  EXPECT_EQ(config_in(second)["lora_alpha"], 12);
  EXPECT_EQ(config_in(second)["use_rslora"], false);
}

TEST_F(RoundTrip, RanksBecomePatterns) {
  peft.config["rank_pattern"] = {{"q_proj", 3}, {"0.mlp.up_proj", 1}};
  for (const char* layer : {"0.", "1."}) {
    peft.pair(kLayer + layer + "self_attn.q_proj", 24, 24, 3);
    peft.pair(kLayer + layer + "mlp.up_proj", 24, 30, layer[0] == '0' ? 1 : 2);
    peft.pair(kLayer + layer + "mlp.down_proj", 30, 24, 2);
  }
  run();
  expect_same_tensors(first, second);
  EXPECT_EQ(config_in(second)["r"], 2);
  EXPECT_EQ(config_in(second)["rank_pattern"],
            (ordered_json{{"q_proj", 3}, {"model.layers.0.mlp.up_proj", 1}}));
}

// alpha_pattern: what most pairs have becomes alpha, so that theirs are the bytes that stay.
TEST_F(RoundTrip, AnAlphaOfSomePairsIsFoldedIntoTheirB) {
  peft.config["alpha_pattern"] = {{"down_proj", 1}};
  peft.pair(kLayer + "0.mlp.down_proj", 30, 24, 2);
  peft.pair(kLayer + "0.mlp.up_proj", 24, 30, 2);
  peft.pair(kLayer + "1.mlp.up_proj", 24, 30, 2);
  run();
  EXPECT_EQ(config_in(second)["lora_alpha"], 4);
  const Adapter again = read_adapter_peft(second, kBase);
  const std::vector<float> b = peft.b_of(kLayer + "0.mlp.down_proj", 48);
  for (size_t i = 0; i < b.size(); ++i) EXPECT_EQ(again.find("blk.0.ffn_down.weight")->b[i], b[i] / 4);
  expect_equal(*again.find("blk.1.ffn_up.weight"), *adapter.find("blk.1.ffn_up.weight"));
}

TEST_F(RoundTrip, AModuleOfSomeLayersIsNamedInFull) {
  peft.pair(kLayer + "1.mlp.up_proj", 24, 30, 2);
  run();
  EXPECT_EQ(config_in(second)["target_modules"], ordered_json::array({"model.layers.1.mlp.up_proj"}));
  run(kBase, 0);  // how many layers there are is not known
  EXPECT_EQ(config_in(second)["target_modules"], ordered_json::array({"model.layers.1.mlp.up_proj"}));
}

TEST(AdapterPeftWrite, AnAlphaThatIsMissingMeansAScaleOfOne) {
  const ScratchFolder scratch;
  Adapter adapter;
  adapter.architecture = "qwen2";
  adapter.pairs = {pair_of("blk.0.ffn_up.weight", 8, 6, 2), pair_of("blk.0.ffn_gate.weight", 8, 6, 2),
                   pair_of("blk.0.ffn_down.weight", 6, 8, 3)};
  write_adapter_peft(adapter, {"qwen2"}, 1, scratch.path());
  const Adapter again = read_adapter_peft(scratch.path(), {"qwen2"});
  for (const LoraPair& pair : again.pairs) {
    EXPECT_FLOAT_EQ(again.scale(pair) * pair.b[1], adapter.find(pair.base)->b[1]) << pair.base;
  }
}

TEST(AdapterPeftWrite, F16IsRounded) {
  const ScratchFolder scratch;
  Adapter adapter;
  adapter.architecture = "llama";
  adapter.alpha = 2;
  adapter.pairs = {pair_of("blk.0.ffn_up.weight", 8, 6, 2)};
  write_adapter_peft(adapter, kBase, 1, scratch.path(), Type::F16);
  const SafeTensors file = SafeTensors::open(scratch.file("adapter_model.safetensors"));
  EXPECT_EQ(file.tensors().at(0).dtype, "F16");
  const std::vector<float> a =
      file.tensor("base_model.model.model.layers.0.mlp.up_proj.lora_A.weight").to_f32();
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], adapter.pairs[0].a[i], 0x1p-12);
}

TEST(AdapterPeftWrite, LeavesNothingBehindAfterAnError) {
  const ScratchFolder scratch;
  Adapter adapter;
  adapter.architecture = "llama";
  adapter.pairs = {pair_of("blk.0.ffn_norm.weight", 8, 1, 2)};
  const auto error = [&](const PeftBase& base, Type type = Type::F32) {
    return error_of([&] { write_adapter_peft(adapter, base, 1, scratch.path(), type); });
  };
  EXPECT_THAT(error(kBase), HasSubstr("blk.0.ffn_norm.weight: architecture llama has no module"));
  adapter.pairs = {pair_of("blk.0.attn_q.weight", 8, 10, 2)};
  EXPECT_THAT(error(kBase), HasSubstr("each of 4 heads, found 10"));
  adapter.pairs = {pair_of("blk.0.ffn_up.weight", 8, 10, 2)};
  adapter.pairs[0].b[3] = 1e6f;
  EXPECT_THAT(error(kBase, Type::F16), HasSubstr("beyond what F16 holds"));
  adapter.architecture = "mamba";
  EXPECT_THAT(error(kBase), HasSubstr("architecture mamba"));
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

}  // namespace adapter_peft_write_test
}  // namespace lora
