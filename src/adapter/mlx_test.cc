// Folders of mlx-lm: lora_a (n_in, rank) and lora_b (rank, n_out), the effect scale x a b.
#include "adapter/adapter.h"
#include "adapter/adapter_test_util.h"
#include "adapter/peft_config.h"
#include "adapter/peft_experts.h"
#include "adapter/peft_names.h"

namespace lora {
namespace mlx_test {

using nlohmann::ordered_json;
using testing::HasSubstr;

struct MlxFolder : PeftFiles {
  ScratchFolder scratch;

  MlxFolder() {
    config = {{"fine_tune_type", "lora"},
              {"model", "mlx-community/small"},
              {"num_layers", 1},
              {"lora_parameters", {{"rank", 2}, {"scale", 10.0}, {"dropout", 0.0}, {"alpha", 16}}}};
  }
  void mlx_pair(const std::string& module, int64_t n_in, int64_t n_out, int64_t rank = 2) {
    tensor(module + ".lora_a", {n_in, rank}, a_of(module, n_in * rank));
    tensor(module + ".lora_b", {rank, n_out}, b_of(module, rank * n_out));
  }
  Adapter read() const {
    write(scratch.path(), "adapters.safetensors");
    return read_adapter(scratch.path(), small_base(scratch));
  }
  std::string error() const {
    return error_of([&] { read(); });
  }
};

// The element of scale x a b that the weight of input i and output o gains, from the file and from the pair.
TEST(Mlx, AddsWhatMlxAdds) {
  MlxFolder mlx;
  const std::string module = "model.layers.0.mlp.down_proj";
  mlx.mlx_pair(module, 6, 8);
  const Adapter adapter = mlx.read();
  EXPECT_EQ(adapter.base_model, "mlx-community/small");
  EXPECT_EQ(adapter.alpha, 20);
  const LoraPair& pair = *adapter.find("blk.0.ffn_down.weight");
  ASSERT_EQ(pair.n_in, 6);
  ASSERT_EQ(pair.n_out, 8);
  const std::vector<float> a = mlx.a_of(module, 12), b = mlx.b_of(module, 16);
  for (size_t i = 0; i < 6; ++i) {
    for (size_t o = 0; o < 8; ++o) {
      float theirs = 0, ours = 0;
      for (size_t r = 0; r < 2; ++r) {
        theirs += a[i * 2 + r] * b[r * 8 + o];
        ours += pair.b[o * 2 + r] * pair.a[r * 6 + i];
      }
      EXPECT_EQ(adapter.scale(pair) * ours, 10 * theirs);
    }
  }
}

TEST(Mlx, RowsOfQAndKAreReorderedAndTheEmbeddingIsRead) {
  MlxFolder mlx;
  mlx.mlx_pair("model.layers.0.self_attn.k_proj", 8, 4);
  mlx.mlx_pair("model.embed_tokens", 10, 8);
  const Adapter adapter = mlx.read();
  const std::vector<float> b = mlx.b_of("model.layers.0.self_attn.k_proj", 8);
  const size_t rows[] = {0, 2, 1, 3};
  for (size_t row = 0; row < 4; ++row) {
    for (size_t r = 0; r < 2; ++r) {
      EXPECT_EQ(adapter.find("blk.0.attn_k.weight")->b[row * 2 + r], b[r * 4 + rows[row]]);
    }
  }
  EXPECT_EQ(adapter.find("token_embd.weight")->n_in, 10);
}

// There mlx-lm's output computes with it, too; llama.cpp's and ours do not.
TEST(Mlx, AnEmbeddingThatIsTheOutputIsRefusedOrLeftOut) {
  MlxFolder mlx;
  mlx.mlx_pair("model.embed_tokens", 10, 8);
  mlx.mlx_pair("model.layers.0.mlp.up_proj", 8, 6);
  EXPECT_EQ(mlx.read().pairs.size(), 2u);
  const std::vector<float> zeros(80);
  GgufWriter tied;
  tied.set_string("general.architecture", "llama");
  tied.set_u32("llama.attention.head_count", 2);
  tied.add_tensor("token_embd.weight", Type::F32, {8, 10}, std::as_bytes(std::span(zeros)));
  tied.add_tensor("blk.0.ffn_up.weight", Type::F32, {8, 6}, std::as_bytes(std::span(zeros).first(48)));
  tied.write(mlx.scratch.file("tied.gguf"));
  const Gguf base = Gguf::open(mlx.scratch.file("tied.gguf"));
  const std::string error = error_of([&] { read_adapter(mlx.scratch.path(), base); });
  EXPECT_THAT(error, HasSubstr("model.embed_tokens.lora_a: MLX adds an embedding's LoRA to the output too"));
  std::vector<LeftOut> left_out;
  const Adapter rest = read_adapter_peft(mlx.scratch.path(), peft_base(base), &left_out);
  ASSERT_EQ(rest.pairs.size(), 1u);
  EXPECT_EQ(rest.pairs[0].base, "blk.0.ffn_up.weight");
  EXPECT_EQ(left_out.size(), 2u);  // the halves
}

// mlx-lm's names, which are Hugging Face's but for experts and some MLPs.
TEST(Mlx, NamesOfEveryKindOfLayer) {
  const std::tuple<const char*, const char*, const char*> rows[] = {
      {"lfm2", "model.layers.0.conv.in_proj", "shortconv.in_proj"},
      {"lfm2", "model.layers.0.feed_forward.w2", "ffn_down"},
      {"lfm2moe", "model.layers.0.feed_forward.gate_proj", "ffn_gate"},
      {"lfm2moe", "model.layers.0.feed_forward.up_proj", "ffn_up"},
      {"lfm2moe", "model.layers.0.feed_forward.down_proj", "ffn_down"},
      {"lfm2moe", "model.layers.0.feed_forward.gate", "ffn_gate_inp"},
      {"lfm2moe", "model.layers.0.feed_forward.switch_mlp.up_proj", "ffn_up_exps"},
      {"qwen35", "language_model.model.layers.0.linear_attn.in_proj_qkv", "attn_qkv"},
      {"qwen35", "language_model.model.layers.0.linear_attn.out_proj", "ssm_out"},
      {"qwen35moe", "language_model.model.layers.0.mlp.switch_mlp.down_proj", "ffn_down_exps"},
      {"qwen35moe", "language_model.model.layers.0.mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
      {"qwen3next", "model.layers.0.linear_attn.in_proj_ba", "ssm_ba"},
      {"gemma4", "language_model.model.layers.0.per_layer_input_gate", "inp_gate"},
      {"gemma4", "model.layers.0.experts.switch_glu.down_proj", "ffn_down_exps"},
      {"gemma4", "model.layers.0.router.proj", "ffn_gate_inp"},
      {"deepseek2", "model.layers.0.self_attn.kv_b_proj", "attn_kv_b"},
      {"deepseek2", "model.layers.0.mlp.switch_mlp.gate_proj", "ffn_gate_exps"},
      {"falcon-h1", "model.layers.0.mamba.in_proj", "ssm_in"},
      {"granitehybrid", "model.layers.0.mlp.gate_proj", "ffn_gate"},
      {"granitehybrid", "model.layers.0.mlp.down_proj", "ffn_down"},
      {"granitehybrid", "model.layers.0.block_sparse_moe.switch_mlp.gate_proj", "ffn_gate_exps"},
      {"mamba2", "backbone.layers.0.mixer.out_proj", "ssm_out"},
      {"nemotron_h", "backbone.layers.0.mixer.up_proj", "ffn_up"},
  };
  for (const auto& [family, module, tensor] : rows) {
    const std::string base = fmt::format("blk.0.{}.weight", tensor);
    const std::vector<PeftTarget> targets = peft_targets(family, module);
    const bool is_target = std::ranges::find(targets, base, &PeftTarget::base) != targets.end();
    EXPECT_TRUE(is_target || mlx_stack(family, module) == base) << family << " " << module;
  }
  EXPECT_EQ(mlx_stack("gemma4", "model.layers.0.experts.switch_glu.gate_proj"), "");
}

// Of Gemma 4's experts gate and up are one tensor, of which MLX has two.
TEST(Mlx, APartOfAnExpertIsRefusedByName) {
  MlxFolder mlx;
  const std::string module = "model.layers.0.experts.switch_glu.up_proj";
  mlx.tensor(module + ".lora_a", {3, 2, 8}, numbers(48, 1));
  mlx.tensor(module + ".lora_b", {3, 6, 2}, numbers(36, 2));
  mlx.write(mlx.scratch.path(), "adapters.safetensors");
  EXPECT_THAT(error_of([&] { read_adapter(mlx.scratch.path(), small_base(mlx.scratch, "gemma4")); }),
              HasSubstr(module + ".lora_a: gate and up of gemma4's experts are one tensor"));
}

// mlx-lm folds Falcon-H1's factors into the weights, as GGUF does: its adapters know nothing of them.
TEST(Mlx, FactorsInWeightsAreNotItsAdapters) {
  MlxFolder mlx;
  const std::string module = "model.layers.0.self_attn.o_proj";
  mlx.mlx_pair(module, 8, 8);
  mlx.write(mlx.scratch.path(), "adapters.safetensors");
  const std::vector<float> zeros(64);
  GgufWriter writer;
  writer.set_string("general.architecture", "falcon-h1");
  writer.set_u32("falcon-h1.attention.head_count", 2);
  writer.set_f64("falcon-h1.hf.attention_out_multiplier", 4);
  writer.add_tensor("blk.0.attn_output.weight", Type::F32, {8, 8}, std::as_bytes(std::span(zeros)));
  writer.write(mlx.scratch.file("base.gguf"));
  const Adapter adapter = read_adapter(mlx.scratch.path(), Gguf::open(mlx.scratch.file("base.gguf")));
  const std::vector<float> b = mlx.b_of(module, 16);
  for (size_t row = 0; row < 8; ++row) {
    for (size_t r = 0; r < 2; ++r) EXPECT_EQ(adapter.pairs.at(0).b[row * 2 + r], b[r * 8 + row]);
  }
}

TEST(Mlx, WhatIsNoLoraIsRefused) {
  const std::vector<std::tuple<std::string, ordered_json, std::string>> cases = {
      {"fine_tune_type", "full", "fine_tune_type: expected \"lora\", found \"full\""},
      {"fine_tune_type", "dora", "DoRA"},
      {"use_dora", true, "DoRA"},
      {"lora_parameters", 3, "lora_parameters: expected an object, found number"},
      {"lora_parameters", {{"rank", 2}}, "scale: missing"},
      {"lora_parameters", {{"scale", 2}}, "rank: missing"},
      {"lora_parameters", {{"rank", 3}, {"scale", 2}}, "expected rank 3"},
      {"lora_parameters", {{"rank", 2}, {"scale", 2}, {"new", 1}}, "lora_parameters.new: not known"},
  };
  for (const auto& [key, value, why] : cases) {
    MlxFolder mlx;
    mlx.mlx_pair("model.layers.0.mlp.up_proj", 8, 6);
    mlx.config[key] = value;
    EXPECT_THAT(mlx.error(), HasSubstr(why));
  }
  MlxFolder magnitudes;
  magnitudes.mlx_pair("model.layers.0.mlp.up_proj", 8, 6);
  magnitudes.tensor("model.layers.0.mlp.up_proj.m", {6}, numbers(6, 1));
  EXPECT_THAT(magnitudes.error(), HasSubstr("DoRA"));
  MlxFolder half;
  half.tensor("model.layers.0.mlp.up_proj.lora_a", {8, 2}, numbers(16, 1));
  EXPECT_THAT(half.error(), HasSubstr("its B half is missing"));
}

}  // namespace mlx_test
}  // namespace lora
