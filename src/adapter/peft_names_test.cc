// Names of modules, patterns of their names, and the order of rows.
#include "adapter/peft_names.h"

#include "adapter/adapter_test_util.h"
#include "adapter/peft_config.h"
#include "arch/architecture.h"
#include "base/error.h"

namespace lora {
namespace peft_names_test {

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

TEST(PeftPattern, TheFirstThatMatchesCounts) {
  ModulePatterns<int64_t> patterns;
  patterns.add(ModulePattern("k_proj", "config"), 1);
  patterns.add(ModulePattern(".*_proj", "config"), 2);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(patterns.of("layers.0.k_proj"), 1);
    EXPECT_EQ(patterns.of("layers.0.q_proj"), 2);
    EXPECT_EQ(patterns.of("lm_head"), std::nullopt);
  }
}

// Each of two files of some megabytes can have tens of thousands, of patterns and of modules.
TEST(PeftPattern, ManyForManyModulesAreAnError) {
  const auto n_of = [](const std::string& pattern, int n_patterns, const std::string& module) {
    ModulePatterns<int64_t> patterns;
    for (int i = 0; i < n_patterns; ++i) patterns.add(ModulePattern(pattern, "config"), 1);
    int n = 0;
    const std::string error = test::error_of([&] {
      for (; n < 10'000; ++n) patterns.of(fmt::format("layers.{}.{}", n, module));
    });
    EXPECT_TRUE(error.empty() || error.starts_with("config: ")) << error;
    return n;
  };
  EXPECT_EQ(n_of("k_proj", 100, "q_proj"), 10'000);
  EXPECT_LT(n_of("k_proj", 20'000, "q_proj"), 2'000);
  EXPECT_LT(n_of("(a+)+[bc]", 1, std::string(10, 'a')), 3'000) << "each takes thousands of steps";
}

std::string tensor_of(std::string_view architecture, std::string_view module) {
  const auto targets = peft_targets(architecture, module);
  return targets.size() == 1 ? targets.front().base : fmt::format("{} tensors", targets.size());
}

// As the classes' own names are, there and back.
TEST(PeftNames, OfEveryArchitecture) {
  struct Name {
    const char *architecture, *module, *tensor;
  };
  constexpr Name names[] = {
      {"llama", "model.layers.7.self_attn.q_proj", "blk.7.attn_q.weight"},
      {"llama", "model.layers.7.self_attn.o_proj", "blk.7.attn_output.weight"},
      {"qwen3", "model.layers.7.mlp.gate_proj", "blk.7.ffn_gate.weight"},
      {"gemma3", "model.embed_tokens", "token_embd.weight"},
      {"llama", "lm_head", "output.weight"},
      {"phi3", "model.layers.7.self_attn.qkv_proj", "blk.7.attn_qkv.weight"},
      {"phi3", "model.layers.7.mlp.gate_up_proj", "blk.7.ffn_up.weight"},
      {"glm4", "model.layers.7.mlp.gate_up_proj", "blk.7.ffn_up.weight"},
      {"starcoder2", "model.layers.7.mlp.c_fc", "blk.7.ffn_up.weight"},
      {"phi2", "model.layers.7.self_attn.dense", "blk.7.attn_output.weight"},
      {"falcon", "transformer.h.7.self_attention.query_key_value", "blk.7.attn_qkv.weight"},
      {"falcon", "transformer.word_embeddings", "token_embd.weight"},
      {"internlm2", "model.layers.7.feed_forward.w2", "blk.7.ffn_down.weight"},
      {"internlm2", "output", "output.weight"},
  };
  for (const Name& name : names) {
    EXPECT_EQ(tensor_of(name.architecture, name.module), name.tensor) << name.architecture;
    const auto module = peft_module(name.architecture, name.tensor);
    ASSERT_TRUE(module) << name.architecture << " " << name.tensor;
    EXPECT_EQ(module->name, name.module) << name.architecture;
  }
  for (const Architecture* row : architectures()) {
    if (!row->hf) continue;
    for_each_layer_module(*row->hf, [&](const HfModule& m) {
      const bool is_matrix = m.n_out != Dim::none && m.n_in != Dim::none && m.stack == Stack::none;
      if (!is_matrix || !m.is_linear() || m.of_gguf != Rows::all) return;
      const std::string tensor = fmt::format("blk.3.{}.weight", m.gguf);
      const auto module = peft_module(row->name, tensor);
      ASSERT_TRUE(module) << row->name << " " << tensor;
      const auto targets = peft_targets(row->name, module->name);
      EXPECT_TRUE(std::ranges::any_of(targets, [&](const PeftTarget& t) { return t.base == tensor; }))
          << tensor;
    });
  }
  const auto packed = peft_targets("internlm2", "model.layers.7.attention.wqkv");
  ASSERT_EQ(packed.size(), 3u);
  EXPECT_EQ(packed[1].base, "blk.7.attn_k.weight");
  EXPECT_EQ(tensor_of("phi3", "model.layers.7.self_attn.q_proj"), "blk.7.attn_qkv.weight") << "rows of it";
  EXPECT_FALSE(peft_module("phi3", "blk.7.attn_q.weight"));
  EXPECT_TRUE(peft_targets("mamba", "lm_head").empty());
}

TEST(PeftNames, OfModelsThatAlsoSee) {
  for (const char* module :
       {"model.language_model.layers.3.mlp.up_proj", "language_model.model.layers.3.mlp.up_proj"}) {
    EXPECT_EQ(tensor_of("gemma3", module), "blk.3.ffn_up.weight");
  }
  EXPECT_EQ(tensor_of("gemma3", "language_model.lm_head"), "output.weight");
  EXPECT_TRUE(peft_targets("gemma3", "model.vision_tower.encoder.layers.0.mlp.fc1").empty());
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
  const HfModule& q = *peft_module("llama", "blk.0.attn_q.weight")->module;
  const auto rows = [&](int64_t n_heads) {
    return peft_rows("llama", q, n_rows, true, {n_heads, n_heads}, "q");
  };
  const std::vector<float> b = gather_rows(hf, n_cols, rows(n_head));
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
  EXPECT_EQ(scatter_rows(b, n_cols, rows(n_head)), hf);
  for (const int64_t heads : {int64_t{0}, int64_t{-1}, int64_t{4}, int64_t{10}, int64_t{31}, INT64_MAX}) {
    EXPECT_THROW(rows(heads), Error) << heads;
  }
  EXPECT_TRUE(
      peft_rows("qwen2", *peft_module("qwen2", "blk.0.attn_q.weight")->module, 7, true, {}, "q").empty());
}

// InternLM 2: for each head of k and v its heads of q, then k, then v.
TEST(PeftRows, OfPackedHeads) {
  const PeftHeads heads{4, 2};
  constexpr int64_t dim = 2;
  const auto targets = peft_targets("internlm2", "model.layers.0.attention.wqkv");
  const auto rows = [&](size_t i) {
    return peft_rows("internlm2", *targets.at(i).module, 8 * dim, true, heads, "wqkv");
  };
  EXPECT_EQ(rows(0), (std::vector<int64_t>{0, 1, 2, 3, 8, 9, 10, 11}));
  EXPECT_EQ(rows(1), (std::vector<int64_t>{4, 5, 12, 13}));
  EXPECT_EQ(rows(2), (std::vector<int64_t>{6, 7, 14, 15}));
  const auto falcon = peft_targets("falcon", "transformer.h.0.self_attention.query_key_value");
  EXPECT_EQ(peft_rows("falcon", *falcon.at(0).module, 8 * dim, true, heads, "qkv"),
            (std::vector<int64_t>{0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15}));
  // Three parts below one another, q and k in GGUF's order of rotary pairs.
  const auto baichuan = peft_targets("baichuan", "model.layers.0.self_attn.W_pack");
  EXPECT_EQ(peft_rows("baichuan", *baichuan.at(1).module, 3 * 2 * 4, true, {2, 2}, "W_pack"),
            (std::vector<int64_t>{8, 10, 9, 11, 12, 14, 13, 15}));
}

TEST(PeftNames, LayerNumbersAreReadWhole) {
  EXPECT_EQ(tensor_of("llama", "model.layers.12.mlp.up_proj"), "blk.12.ffn_up.weight");
  EXPECT_EQ(tensor_of("llama", "layers.3.mlp.up_proj"), "blk.3.ffn_up.weight");
  for (const char* module : {"model.layers..mlp.up_proj", "model.layers.x.mlp.up_proj",
                             "model.layers.1mlp.up_proj", "model.layers.99999999999.mlp.up_proj",
                             "model.layers.-1.mlp.up_proj", "model.layers.1.", "", "model.norm"}) {
    EXPECT_TRUE(peft_targets("llama", module).empty()) << module;
  }
}

}  // namespace peft_names_test
}  // namespace lora
