// Merging that stops or fails: in which words, and that nothing is left behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "convert/merge_test_util.h"

namespace lora {
namespace merge_refuses_test {

using namespace test;
using testing::HasSubstr;

TEST(Merge, StoppedItLeavesNothing) {
  const Fixture f({});
  const MergeOptions o = f.options(two_adapters(f, true));
  const size_t n_files = f.folder.n_files();
  MergeEvents events;
  events.should_stop = [] { return true; };
  EXPECT_TRUE(merge(o, events).stopped);
  EXPECT_EQ(f.folder.n_files(), n_files);
}

// Puts `to` where the file has the bytes of `from`.
void replace_bytes(const std::string& path, float from, float to) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  const size_t at = all.find(std::string(reinterpret_cast<const char*>(&from), sizeof from));
  ASSERT_NE(at, all.npos);
  file.clear();
  file.seekp(std::streamoff(at));
  file.write(reinterpret_cast<const char*>(&to), sizeof to);
}

TEST(Merge, WhatCannotBeMergedIsRefused) {
  const Fixture f({});
  const Gguf base = Gguf::open(f.base);
  const auto refused = [&](const std::function<void(Adapter&)>& edit) {
    Adapter adapter = make_adapter(base, {"blk.0.attn_q.weight"}, 4, 1);
    edit(adapter);
    write_adapter_gguf(adapter, f.folder.at("bad.gguf"));
    return f.error(f.options({{f.folder.at("bad.gguf")}}));
  };
  EXPECT_EQ(refused([](Adapter&) {}), "no error");
  std::filesystem::remove(f.out);
  EXPECT_THAT(refused([](Adapter& a) { a.architecture = "qwen2"; }), HasSubstr("expected llama"));
  EXPECT_THAT(refused([](Adapter& a) { a.pairs[0].base = "blk.7.attn_q.weight"; }),
              HasSubstr("no such tensor"));
  EXPECT_THAT(refused([](Adapter& a) { a.pairs[0].base = "blk.0.ffn_up.weight"; }),
              HasSubstr("blk.0.ffn_up.weight: expected a pair for 256 x 512"));
  // No adapter with such a value is written, so the file is damaged by hand.
  const float mark = 12345.678f, nan = NAN;
  refused([&](Adapter& a) { a.pairs[0].b[5] = mark; });
  replace_bytes(f.folder.at("bad.gguf"), mark, nan);
  EXPECT_THAT(f.error(f.options({{f.folder.at("bad.gguf")}})), HasSubstr("the adapter is damaged"));
  std::filesystem::remove(f.out);
  const std::string adapter = f.adapter("good.gguf", {"blk.0.attn_q.weight"}, 4);
  MergeOptions o = f.options({{adapter}});
  o.out = f.base;
  EXPECT_THAT(f.error(o), HasSubstr("would replace"));
  o.out = adapter;
  EXPECT_THAT(f.error(o), HasSubstr("would replace"));
  o.out = f.folder.at("no/such/out.gguf");
  EXPECT_THAT(f.error(o), HasSubstr("out.gguf"));
  o = f.options({{f.folder.at("missing.gguf")}});
  EXPECT_THAT(f.error(o), HasSubstr("missing.gguf: cannot open"));
  o = f.options({{f.base}});
  EXPECT_THAT(f.error(o), HasSubstr("not a LoRA adapter"));
  o = f.options({{adapter}});
  o.base = adapter;
  EXPECT_THAT(f.error(o), HasSubstr("'adapter', expected a model"));
  o = f.options({});
  o.checkpoint = adapter;
  EXPECT_THAT(f.error(o), HasSubstr("not a checkpoint"));
  // An integer tensor has no weights to be changed.
  TestModel model({});
  model.tensors[5].type = Type::I32;
  Fixture g({});
  const std::string name = model.tensors[5].name;
  g.base = model.write(g.folder.at("integers.gguf"));
  EXPECT_THAT(g.error(g.options({{g.adapter("a.gguf", {name}, 1)}})), HasSubstr("I32 values"));
}

TEST(Merge, ASumBeyondItsTypeIsRefused) {
  const Fixture f({.type = Type::F16});
  const std::string adapter = f.adapter("a.gguf", {"blk.0.attn_q.weight"}, 4);
  MergeOptions o = f.options({{adapter, 1e7}});
  EXPECT_THAT(f.error(o),
              testing::AllOf(HasSubstr("blk.0.attn_q.weight"), HasSubstr("is beyond what F16 holds"),
                             HasSubstr("take BF16 or F32")));
  o.mix = find_mix("bf16");
  EXPECT_EQ(f.error(o), "no error");
}

TEST(Merge, ASumThatIsNotFiniteIsTheAdaptersFaultUnlessTheBaseIsDamaged) {
  for (const Type type : {Type::F32, Type::Q4_0}) {
    const Fixture f({.type = type});
    Adapter huge = make_adapter(Gguf::open(f.base), {"blk.0.attn_q.weight"}, 4, 1);
    huge.pairs[0].a[3] = 3e38f, huge.pairs[0].b[0] = 30;
    write_adapter_gguf(huge, f.folder.at("huge.gguf"));
    EXPECT_EQ(
        f.error(f.options({{f.folder.at("huge.gguf")}})),
        f.base + ": tensor 'blk.0.attn_q.weight', rows 0 to 255: the sum with the adapters is not finite");
  }
  TestModel damaged({});
  Fixture f({});
  for (TestModel::Tensor& t : damaged.tensors) {
    if (t.name != "blk.0.attn_q.weight") continue;
    std::memset(t.data.data(), 0xff, sizeof(float));
  }
  f.base = damaged.write(f.folder.at("damaged.gguf"));
  EXPECT_EQ(
      f.error(f.options({{f.adapter("a.gguf", {"blk.0.attn_q.weight"}, 4)}})),
      f.base + ": tensor 'blk.0.attn_q.weight', rows 0 to 255: a value is not finite: the file is damaged");
}

}  // namespace merge_refuses_test
}  // namespace lora
