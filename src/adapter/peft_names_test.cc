// Names of modules, patterns of their names, and the order of rows.
#include "adapter/peft_names.h"

#include "adapter/adapter_test_util.h"
#include "adapter/peft_config.h"
#include "arch/architecture.h"
#include "base/error.h"

namespace lora {
namespace {

TEST(PeftPattern, MatchesTheEndOfAModuleNameFromADotOn) {
  const std::string module = "model.layers.10.self_attn.q_proj";
  for (const char* key : {"q_proj", "self_attn.q_proj", "model.layers.10.self_attn.q_proj",
                          "layers\\.\\d+\\..*_proj", "^model.layers.10.*", "k_proj|q_proj"}) {
    EXPECT_TRUE(ModulePattern(key, "config").matches(module)) << key;
  }
  for (const char* key : {"proj", "0.self_attn.q_proj", "q_pro", "self_attn", "^layers.10.*"}) {
    EXPECT_FALSE(ModulePattern(key, "config").matches(module)) << key;
  }
}

TEST(PeftPattern, MalformedOrCostlyPatternsAreErrors) {
  EXPECT_THROW(ModulePattern("(", "config"), Error);
  const ModulePattern costly("(a+)+[bc]", "config");
  EXPECT_THROW(costly.matches(std::string(60, 'a')), Error);
}

// module, tensor, whose heads reorder its rows where the architecture does so
struct Name {
  const char* module;
  const char* tensor;
  RowOrder order = RowOrder::as_is;
};
constexpr Name kCommonNames[] = {
    {"model.layers.7.self_attn.q_proj", "blk.7.attn_q.weight", RowOrder::heads},
    {"model.layers.7.self_attn.k_proj", "blk.7.attn_k.weight", RowOrder::kv_heads},
    {"model.layers.7.self_attn.v_proj", "blk.7.attn_v.weight"},
    {"model.layers.7.self_attn.o_proj", "blk.7.attn_output.weight"},
    {"model.layers.7.mlp.gate_proj", "blk.7.ffn_gate.weight"},
    {"model.layers.7.mlp.up_proj", "blk.7.ffn_up.weight"},
    {"model.layers.7.mlp.down_proj", "blk.7.ffn_down.weight"},
    {"model.embed_tokens", "token_embd.weight"},
    {"lm_head", "output.weight"},
};
constexpr Name kFusedNames[] = {
    {"model.layers.7.self_attn.qkv_proj", "blk.7.attn_qkv.weight"},
    {"model.layers.7.self_attn.o_proj", "blk.7.attn_output.weight"},
    {"model.layers.7.mlp.gate_up_proj", "blk.7.ffn_up.weight"},
    {"model.layers.7.mlp.down_proj", "blk.7.ffn_down.weight"},
    {"model.embed_tokens", "token_embd.weight"},
    {"lm_head", "output.weight"},
};

TEST(PeftNames, OfEveryArchitecture) {
  for (const Architecture* row : architectures()) {
    if (!row->hf) continue;
    const std::string arch(row->name);
    const std::span<const Name> names = arch == "phi3" ? std::span<const Name>(kFusedNames) : kCommonNames;
    for (const Name& name : names) {
      const RowOrder order = arch == "llama" ? name.order : RowOrder::as_is;
      const auto target = peft_target(arch, name.module);
      ASSERT_TRUE(target) << arch << " " << name.module;
      EXPECT_EQ(target->base, name.tensor) << arch;
      EXPECT_EQ(target->order, order) << arch << " " << name.module;
      const auto module = peft_module(arch, name.tensor);
      ASSERT_TRUE(module) << arch << " " << name.tensor;
      EXPECT_EQ(module->name, name.module) << arch;
      EXPECT_EQ(module->order, order) << arch << " " << name.tensor;
    }
  }
  EXPECT_FALSE(peft_target("phi3", "model.layers.7.self_attn.q_proj"));
  EXPECT_FALSE(peft_module("phi3", "blk.7.attn_q.weight"));
  EXPECT_FALSE(peft_target("mamba", "lm_head"));
}

TEST(PeftNames, OfModelsThatAlsoSee) {
  for (const char* module :
       {"model.language_model.layers.3.mlp.up_proj", "language_model.model.layers.3.mlp.up_proj"}) {
    EXPECT_EQ(peft_target("gemma3", module)->base, "blk.3.ffn_up.weight");
  }
  EXPECT_EQ(peft_target("gemma3", "language_model.lm_head")->base, "output.weight");
  EXPECT_FALSE(peft_target("gemma3", "model.vision_tower.encoder.layers.0.mlp.fc1"));
}

TEST(PeftNames, WhatIsNoMatrixHasNone) {
  for (const char* tensor : {"blk.0.attn_norm.weight", "output_norm.weight", "blk.x.attn_q.weight",
                             "blk.0.attn_q.bias", "blk.0attn_q.weight", "blk..attn_q.weight", "attn_q.weight",
                             "blk.0.token_embd.weight", "", ".weight"}) {
    EXPECT_FALSE(peft_module("llama", tensor)) << tensor;
  }
}

// Hugging Face's rows of a head are (half, j), GGUF's are (j, half).
TEST(PeftRows, MoveAsTheRotaryPairsDo) {
  constexpr int64_t n_head = 3, half = 5, n_cols = 2, n_rows = n_head * 2 * half;
  const std::vector<float> hf = numbers(n_rows * n_cols, 9);
  std::vector<float> b = hf;
  ASSERT_TRUE(reorder_rows(b, n_rows, n_cols, n_head, RowsTo::gguf));
  for (int64_t h = 0; h < n_head; ++h) {
    for (int64_t s = 0; s < 2; ++s) {
      for (int64_t j = 0; j < half; ++j) {
        for (int64_t c = 0; c < n_cols; ++c) {
          EXPECT_EQ(b[size_t(((h * half + j) * 2 + s) * n_cols + c)],
                    hf[size_t(((h * 2 + s) * half + j) * n_cols + c)]);
        }
      }
    }
  }
  ASSERT_TRUE(reorder_rows(b, n_rows, n_cols, n_head, RowsTo::hf));
  EXPECT_EQ(b, hf);
  for (const int64_t heads : {int64_t{0}, int64_t{-1}, int64_t{4}, int64_t{10}, int64_t{31}, INT64_MAX}) {
    EXPECT_FALSE(reorder_rows(b, n_rows, n_cols, heads, RowsTo::gguf)) << heads;
  }
}

TEST(PeftNames, LayerNumbersAreReadWhole) {
  EXPECT_EQ(peft_target("llama", "model.layers.12.mlp.up_proj")->base, "blk.12.ffn_up.weight");
  EXPECT_EQ(peft_target("llama", "layers.3.mlp.up_proj")->base, "blk.3.ffn_up.weight");
  for (const char* module : {"model.layers..mlp.up_proj", "model.layers.x.mlp.up_proj",
                             "model.layers.1mlp.up_proj", "model.layers.99999999999.mlp.up_proj",
                             "model.layers.-1.mlp.up_proj", "model.layers.1.", "", "model.norm"}) {
    EXPECT_FALSE(peft_target("llama", module)) << module;
  }
}

}  // namespace
}  // namespace lora
