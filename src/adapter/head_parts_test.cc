#include "adapter/head_parts.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "gguf/test_files.h"

namespace lora {
namespace head_parts_test {

using testing::HasSubstr;

constexpr HeadParts kHeads{3, 4, 5};
constexpr int64_t kRank = 2, kIn = 7;

std::vector<float> numbers(int64_t n, uint64_t stream) {
  std::vector<float> values;
  for (int64_t i = 0; i < n; ++i)
    values.push_back(float(2 * random_uniform(1, Purpose::test, stream, uint64_t(i)) - 1));
  return values;
}

LoraPair whole_pair(int64_t layer = 0) {
  const auto stream = uint64_t(layer);
  return {fmt::format("blk.{}.attn_kv_b.weight", layer),
          kIn,
          kHeads.n_rows(),
          kRank,
          numbers(kRank * kIn, 2 * stream),
          numbers(kHeads.n_rows() * kRank, 2 * stream + 1)};
}

// (n_out, n_in) of a slice.
std::vector<float> product(const LoraPair& pair, int64_t slice) {
  std::vector<float> values;
  for (int64_t o = 0; o < pair.n_out; ++o) {
    for (int64_t i = 0; i < pair.n_in; ++i) {
      float sum = 0;
      for (int64_t r = 0; r < pair.rank; ++r) {
        sum += pair.b[size_t((slice * pair.n_out + o) * pair.rank + r)] *
               pair.a[size_t((slice * pair.rank + r) * pair.n_in + i)];
      }
      values.push_back(sum);
    }
  }
  return values;
}

TEST(HeadParts, TwoStacksAddWhatTheWholeAdds) {
  const LoraPair whole = whole_pair();
  const std::vector<LoraPair> parts = cut_pairs(whole, kHeads);
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].base, "blk.0.attn_k_b.weight");
  EXPECT_EQ(parts[1].base, "blk.0.attn_v_b.weight");
  const std::vector<float> want = product(whole, 0);
  for (int64_t h = 0; h < kHeads.n_head; ++h) {
    const std::vector<float> keys = product(parts[0], h), values = product(parts[1], h);
    const int64_t first = h * (kHeads.n_keys + kHeads.n_values);
    for (int64_t c = 0; c < kIn; ++c) {
      for (int64_t i = 0; i < kHeads.n_keys; ++i)
        EXPECT_EQ(keys[size_t(c * kHeads.n_keys + i)], want[size_t((first + i) * kIn + c)]);
      for (int64_t i = 0; i < kHeads.n_values; ++i)
        EXPECT_EQ(values[size_t(i * kIn + c)], want[size_t((first + kHeads.n_keys + i) * kIn + c)]);
    }
  }
}

Adapter two_layers() {
  Adapter adapter;
  adapter.architecture = "deepseek2";
  adapter.alpha = 4;
  adapter.heads = kHeads;
  adapter.pairs = {whole_pair(0), whole_pair(1)};
  return adapter;
}

TEST(HeadParts, FilesHaveSharedHalvesOnceAndComeBack) {
  const test::ScratchFile file("heads.gguf");
  write_adapter_gguf(two_layers(), file.path);
  const Gguf gguf = Gguf::open(file.path);
  EXPECT_EQ(gguf.tensors().size(), 8u);
  EXPECT_EQ(gguf.tensor("blk.1.attn_k_b.weight.lora_a").shape(), "4 x 2 x 3");
  EXPECT_EQ(gguf.tensor("blk.1.attn_k_b.weight.lora_b").shape(), "2 x 7");
  EXPECT_EQ(gguf.tensor("blk.1.attn_v_b.weight.lora_a").shape(), "7 x 2");
  EXPECT_EQ(gguf.tensor("blk.1.attn_v_b.weight.lora_b").shape(), "2 x 5 x 3");
  const Adapter back = parse_adapter_gguf(gguf);
  ASSERT_TRUE(back.heads);
  EXPECT_EQ(back.heads->n_keys, kHeads.n_keys);
  ASSERT_EQ(back.pairs.size(), 2u);
  for (const int64_t layer : {0, 1}) {
    const LoraPair want = whole_pair(layer), *found = back.find(want.base);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->a, want.a);
    EXPECT_EQ(found->b, want.b);
  }
}

std::vector<LoraHalf> halves() {
  return cut_halves(whole_pair(), kHeads);
}
std::string error_of(std::vector<LoraHalf> given) {
  std::optional<HeadParts> parts;
  try {
    join_halves(std::move(given), parts, "lora.gguf");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}
// A half that heads share, for each of them.
LoraHalf repeated(LoraHalf half) {
  const std::vector<float> one = half.values;
  for (int64_t h = 1; h < kHeads.n_head; ++h) half.values.insert(half.values.end(), one.begin(), one.end());
  half.n_slices = kHeads.n_head;
  return half;
}

TEST(HeadParts, SharedHalvesMayBeThereForEachHead) {
  std::vector<LoraHalf> given = halves();
  given[1] = repeated(given[1]);
  given[2] = repeated(given[2]);
  std::optional<HeadParts> parts;
  const std::vector<LoraHalf> joined = join_halves(given, parts, "lora.gguf");
  ASSERT_EQ(joined.size(), 2u);
  EXPECT_EQ(joined[0].values, whole_pair().a);
  EXPECT_EQ(joined[1].values, whole_pair().b);
  given[2].values.back() += 1;
  EXPECT_THAT(error_of(given), HasSubstr("attn_v_b.weight.lora_a: differs from head to head"));
}

// A file whose layers have heads of other sizes than the first one's.
TEST(HeadParts, APairOfOtherHeadsIsRefused) {
  LoraPair smaller = whole_pair(1);
  smaller.n_out -= 1;
  smaller.b.resize(size_t(smaller.n_out * kRank));
  EXPECT_THROW(cut_halves(smaller, kHeads), Error);
}

TEST(HeadParts, WhatIsNoPairOfTheWholeIsNamed) {
  std::vector<LoraHalf> given = halves();
  given[1].values[0] += 1;
  EXPECT_THAT(error_of(given),
              HasSubstr("attn_k_b.weight.lora_b: differs from blk.0.attn_v_b.weight.lora_a"));
  given = halves();
  given.pop_back();
  EXPECT_THAT(error_of(given), HasSubstr("a half of their pairs is missing"));
  given = halves();
  given[3].n_rows = 3, given[3].n_slices = 5;
  EXPECT_THAT(error_of(given), HasSubstr("does not fit"));
  given = halves();
  given.push_back(given[0]);
  EXPECT_THAT(error_of(given), HasSubstr("attn_k_b.weight.lora_a: found twice"));
}

}  // namespace head_parts_test
}  // namespace lora
