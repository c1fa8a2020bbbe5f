#include "adapter/adapter.h"

#include "adapter/adapter_test_util.h"

namespace lora {
namespace adapter_test {

using testing::AllOf;
using testing::HasSubstr;

Adapter small_adapter() {
  Adapter adapter;
  adapter.architecture = "llama";
  adapter.alpha = 8;
  adapter.pairs = {pair_of("blk.0.attn_q.weight", 8, 8, 2), pair_of("blk.0.ffn_down.weight", 6, 8, 4)};
  return adapter;
}

std::string check_error(const Adapter& adapter, const Gguf& base) {
  return error_of([&] { check_adapter(adapter, "mine.gguf", base); });
}

TEST(Adapter, ScaleIsAlphaOverTheRankOfThePair) {
  const Adapter adapter = small_adapter();
  EXPECT_EQ(adapter.scale(adapter.pairs[0]), 4);
  EXPECT_EQ(adapter.scale(adapter.pairs[1]), 2);
}

TEST(Adapter, ScaleIsOneWithoutAlpha) {
  Adapter adapter = small_adapter();
  adapter.alpha = 0;
  EXPECT_EQ(adapter.scale(adapter.pairs[0]), 1);
}

TEST(Adapter, FindsPairsByName) {
  const Adapter adapter = small_adapter();
  EXPECT_EQ(adapter.find("blk.0.ffn_down.weight"), &adapter.pairs[1]);
  EXPECT_EQ(adapter.find("blk.0.ffn_up.weight"), nullptr);
}

TEST(CheckAdapter, FittingOnePasses) {
  const ScratchFolder folder;
  Adapter adapter = small_adapter();
  adapter.pairs.push_back(pair_of("token_embd.weight", 10, 8, 2));
  EXPECT_EQ(check_error(adapter, small_base(folder)), "");
}

TEST(CheckAdapter, WrongArchitecture) {
  const ScratchFolder folder;
  EXPECT_THAT(check_error(small_adapter(), small_base(folder, "qwen2")),
              AllOf(HasSubstr("mine.gguf: architecture: expected qwen2"), HasSubstr("found llama")));
}

TEST(CheckAdapter, TensorThatTheModelLacks) {
  const ScratchFolder folder;
  Adapter adapter = small_adapter();
  adapter.pairs.push_back(pair_of("blk.1.attn_q.weight", 8, 8, 2));
  EXPECT_THAT(
      check_error(adapter, small_base(folder)),
      AllOf(HasSubstr("mine.gguf: tensor blk.1.attn_q.weight: the model "), HasSubstr("has no such tensor")));
}

TEST(CheckAdapter, WrongShapeSaysBoth) {
  const ScratchFolder folder;
  const Gguf base = small_base(folder);
  for (const LoraPair& wrong :
       {pair_of("blk.0.attn_k.weight", 8, 6, 2), pair_of("blk.0.attn_k.weight", 4, 4, 2)}) {
    Adapter adapter = small_adapter();
    adapter.pairs = {wrong};
    EXPECT_THAT(check_error(adapter, base),
                AllOf(HasSubstr("tensor blk.0.attn_k.weight: expected a pair for 8 x 4"),
                      HasSubstr(fmt::format("found {} x {}: an adapter for another model?", wrong.n_in,
                                            wrong.n_out))));
  }
}

// Else merging would change what nothing computes with.
TEST(CheckAdapter, VectorsHaveNoLora) {
  const ScratchFolder folder;
  Adapter adapter = small_adapter();
  adapter.pairs.push_back(pair_of("blk.0.attn_q.bias", 8, 1, 2));
  EXPECT_THAT(check_error(adapter, small_base(folder)),
              HasSubstr("mine.gguf: tensor blk.0.attn_q.bias: a vector in the model "));
}

TEST(CheckAdapter, EmbeddingTakesTheVocabularyAsInput) {
  const ScratchFolder folder;
  Adapter adapter = small_adapter();
  adapter.pairs = {pair_of("token_embd.weight", 8, 10, 2)};
  EXPECT_THAT(check_error(adapter, small_base(folder)), HasSubstr("expected a pair for 8 x 10"));
}

TEST(ReadAdapter, ReadsTheThreeFormatsByContentAlone) {
  const ScratchFolder folder;
  const Gguf base = small_base(folder);
  write_adapter_gguf(small_adapter(), folder.file("no-extension"));
  EXPECT_EQ(read_adapter(folder.file("no-extension"), base).pairs.size(), 2u);
  EXPECT_THAT(error_of([&] { read_adapter(folder.path(), base); }), HasSubstr("adapter_config.json"));
  write_file(folder.file("ggla"), "algg");
  EXPECT_THAT(error_of([&] { read_adapter(folder.file("ggla"), base); }), HasSubstr("truncated"));
}

TEST(ReadAdapter, ChecksWhatItReads) {
  const ScratchFolder folder;
  Adapter adapter = small_adapter();
  adapter.pairs.push_back(pair_of("blk.7.attn_q.weight", 8, 8, 2));
  write_adapter_gguf(adapter, folder.file("a.gguf"));
  EXPECT_THAT(error_of([&] { read_adapter(folder.file("a.gguf"), small_base(folder)); }),
              AllOf(HasSubstr(folder.file("a.gguf")), HasSubstr("no such tensor")));
}

TEST(ReadAdapter, OtherFilesAreRefused) {
  const ScratchFolder folder;
  const Gguf base = small_base(folder);
  write_file(folder.file("text.txt"), "It is a truth universally acknowledged");
  write_file(folder.file("empty"), "");
  for (const char* name : {"text.txt", "empty"}) {
    EXPECT_THAT(error_of([&] { read_adapter(folder.file(name), base); }),
                HasSubstr(folder.file(name) + ": not an adapter"));
  }
  EXPECT_THAT(error_of([&] { read_adapter(folder.file("missing"), base); }), HasSubstr("cannot open"));
  EXPECT_THAT(error_of([&] { read_adapter(base.path(), base); }),
              HasSubstr("not a LoRA adapter: key general.type: expected \"adapter\", found none"));
}

}  // namespace adapter_test
}  // namespace lora
