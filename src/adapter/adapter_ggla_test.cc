#include <cstring>

#include "adapter/adapter.h"
#include "adapter/adapter_test_util.h"
#include "base/half.h"

namespace lora {
namespace adapter_ggla_test {

using testing::AllOf;
using testing::HasSubstr;

constexpr uint32_t kF32 = 0, kF16 = 1;

// Writes the format as the tool of 2023 did.
struct GglaWriter {
  std::string bytes;

  explicit GglaWriter(uint32_t rank = 2, uint32_t alpha = 4, uint32_t version = 1) {
    for (const uint32_t value : {0x67676C61u, version, rank, alpha}) u32(value);
  }
  void u32(uint32_t value) { bytes.append(reinterpret_cast<const char*>(&value), 4); }
  void align() { bytes.resize((bytes.size() + 31) / 32 * 32); }
  void head(const std::string& name, const std::vector<uint32_t>& ne, uint32_t type = kF32) {
    u32(uint32_t(ne.size()));
    u32(uint32_t(name.size()));
    u32(type);
    for (const uint32_t extent : ne) u32(extent);
    bytes += name;
    align();
  }
  void tensor(const std::string& name, const std::vector<uint32_t>& ne, const std::vector<float>& values) {
    head(name, ne);
    bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * 4);
  }
  // blk.0.attn_k.weight: n_in 8, n_out 4.
  void good_pair(uint32_t rank = 2) {
    tensor("blk.0.attn_k.weight.loraA", {rank, 8}, numbers(8 * rank, 1));
    tensor("blk.0.attn_k.weight.loraB", {rank, 4}, numbers(4 * rank, 2));
  }
};

Adapter read_bytes(const std::string& bytes) {
  const ScratchFolder folder;
  write_file(folder.file("a.bin"), bytes);
  return read_adapter_ggla(folder.file("a.bin"));
}
std::string error_in(const std::string& bytes) {
  return error_of([&] { read_bytes(bytes); });
}

// Element (row, col) of W = B A for ggla's matrices A (n_in, rank) and B (n_out, rank).
float ggla_delta(const std::vector<float>& a, const std::vector<float>& b, size_t rank, size_t row,
                 size_t col) {
  float sum = 0;
  for (size_t r = 0; r < rank; ++r) sum += b[row * rank + r] * a[col * rank + r];
  return sum;
}
// Element (row, col) of B A in the layout of LoraPair.
float pair_delta(const LoraPair& pair, size_t row, size_t col) {
  float sum = 0;
  for (size_t r = 0; r < size_t(pair.rank); ++r) {
    sum += pair.b[row * size_t(pair.rank) + r] * pair.a[r * size_t(pair.n_in) + col];
  }
  return sum;
}

TEST(AdapterGgla, PairHasTheProductOfTheFile) {
  GglaWriter file;
  file.good_pair();
  const Adapter adapter = read_bytes(file.bytes);
  EXPECT_EQ(adapter.alpha, 4);
  const LoraPair& pair = adapter.pairs.at(0);
  EXPECT_EQ(pair.base, "blk.0.attn_k.weight");
  EXPECT_EQ(pair.n_in, 8);
  EXPECT_EQ(pair.n_out, 4);
  EXPECT_EQ(pair.rank, 2);
  EXPECT_EQ(adapter.scale(pair), 2);
  for (size_t row = 0; row < 4; ++row) {
    for (size_t col = 0; col < 8; ++col) {
      EXPECT_EQ(pair_delta(pair, row, col), ggla_delta(numbers(16, 1), numbers(8, 2), 2, row, col));
    }
  }
}

TEST(AdapterGgla, EmbeddingRunsTheOtherWayRound) {
  GglaWriter file;
  const std::vector<float> a = numbers(16, 1), b = numbers(20, 2);  // n_embd 8, vocabulary 10
  file.tensor("token_embd.weight.loraA", {2, 8}, a);
  file.tensor("token_embd.weight.loraB", {2, 10}, b);
  const LoraPair pair = read_bytes(file.bytes).pairs.at(0);
  EXPECT_EQ(pair.n_in, 10);
  EXPECT_EQ(pair.n_out, 8);
  for (size_t token = 0; token < 10; ++token) {
    for (size_t i = 0; i < 8; ++i) EXPECT_EQ(pair_delta(pair, i, token), ggla_delta(a, b, 2, token, i));
  }
}

TEST(AdapterGgla, HeaderScaleHoldsForTensorsOfAnotherRank) {
  GglaWriter file(/*rank=*/4, /*alpha=*/12);
  file.good_pair(2);
  const Adapter adapter = read_bytes(file.bytes);
  const LoraPair& pair = adapter.pairs.at(0);
  const std::vector<float> b = numbers(8, 2);
  for (size_t i = 0; i < b.size(); ++i) EXPECT_FLOAT_EQ(adapter.scale(pair) * pair.b[i], 12.0f / 4 * b[i]);
}

TEST(AdapterGgla, HalfPrecisionIsRead) {
  GglaWriter file;
  file.tensor("blk.0.attn_k.weight.loraA", {2, 8}, numbers(16, 1));
  file.head("blk.0.attn_k.weight.loraB", {2, 4}, kF16);
  for (const float value : numbers(8, 2)) {
    const f16 half = to_f16(value);
    file.bytes.append(reinterpret_cast<const char*>(&half), 2);
  }
  const LoraPair pair = read_bytes(file.bytes).pairs.at(0);
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(pair.b[i], to_f32(to_f16(numbers(8, 2)[i])));
}

TEST(AdapterGgla, EntriesWithoutDimensionsStandForNoTensor) {
  GglaWriter file;
  file.head("", {});
  file.good_pair();
  file.u32(0), file.u32(0), file.u32(kF32);  // the last one: its padding is not in the file
  EXPECT_EQ(read_bytes(file.bytes).pairs.size(), 1u);
}

TEST(AdapterGgla, NormPairsAreLeftOut) {
  GglaWriter file;
  file.good_pair();
  file.tensor("blk.0.attn_norm.weight.loraA", {1, 8}, numbers(8, 3));
  file.tensor("blk.0.attn_norm.weight.loraB", {1}, numbers(1, 4));
  const Adapter adapter = read_bytes(file.bytes);
  EXPECT_EQ(adapter.pairs.size(), 1u);
  EXPECT_THAT(adapter.ignored, testing::ElementsAre("blk.0.attn_norm.weight"));
}

TEST(AdapterGgla, TakesTheArchitectureOfTheModel) {
  const ScratchFolder folder;
  GglaWriter file;
  file.good_pair();
  write_file(folder.file("a.bin"), file.bytes);
  EXPECT_EQ(read_adapter(folder.file("a.bin"), small_base(folder)).architecture, "llama");
}

TEST(AdapterGglaErrors, EveryTruncationIsSaid) {
  GglaWriter file;
  file.good_pair();
  for (size_t size = 0; size < file.bytes.size(); ++size) {
    EXPECT_NE(error_in(file.bytes.substr(0, size)), "") << size;
  }
}
TEST(AdapterGglaErrors, WrongMagic) {
  EXPECT_THAT(error_in("GGUF____________"), HasSubstr("not a ggla file: expected magic 0x67676c61"));
}
TEST(AdapterGglaErrors, WrongVersion) {
  EXPECT_THAT(error_in(GglaWriter(2, 4, 7).bytes), HasSubstr("ggla version: expected 1, found 7"));
}
TEST(AdapterGglaErrors, RankZero) {
  EXPECT_THAT(error_in(GglaWriter(0).bytes), HasSubstr("rank: expected"));
}
TEST(AdapterGglaErrors, NoTensors) {
  EXPECT_THAT(error_in(GglaWriter().bytes), HasSubstr("no LoRA tensors"));
}
TEST(AdapterGglaErrors, TooManyDimensions) {
  GglaWriter file;
  file.head("blk.0.attn_k.weight.loraA", {2, 8, 1});
  EXPECT_THAT(error_in(file.bytes), HasSubstr("expected at most 2 dimensions, found 3"));
}
TEST(AdapterGglaErrors, NameLongerThanTheFile) {
  GglaWriter file;
  for (const uint32_t value : {2u, 0xFFFFFFFFu, kF32, 2u, 8u}) file.u32(value);
  EXPECT_THAT(error_in(file.bytes), HasSubstr("a tensor's name needs 4294967295 bytes at byte"));
}
TEST(AdapterGglaErrors, ShapeLargerThanTheFile) {
  GglaWriter file;
  file.head("blk.0.attn_k.weight.loraA", {0xFFFFFFFF, 0xFFFFFFFF});
  EXPECT_THAT(error_in(file.bytes),
              HasSubstr("tensor blk.0.attn_k.weight.loraA: more values than any file holds"));
  GglaWriter half;
  half.head("blk.0.attn_k.weight.loraA", {0x80000000, 0xFFFFFFFF}, kF16);
  EXPECT_THAT(error_in(half.bytes), HasSubstr("truncated: blk.0.attn_k.weight.loraA"));
}
TEST(AdapterGglaErrors, EmptyTensor) {
  GglaWriter file;
  file.tensor("blk.0.attn_k.weight.loraA", {0, 8}, {});
  file.tensor("blk.0.attn_k.weight.loraB", {0, 4}, {});
  EXPECT_THAT(error_in(file.bytes), HasSubstr("expected at least one row and column"));
  GglaWriter huge;
  huge.head("blk.0.attn_k.weight.loraA", {0, 0xFFFFFFFF});
  EXPECT_THAT(error_in(huge.bytes), HasSubstr("found 4294967295 x 0"));
}
TEST(AdapterGglaErrors, OtherType) {
  GglaWriter file;
  file.head("blk.0.attn_k.weight.loraA", {32, 8}, 2);
  EXPECT_THAT(error_in(file.bytes), HasSubstr("expected type F32 or F16, found Q4_0"));
  GglaWriter unknown;
  unknown.head("blk.0.attn_k.weight.loraA", {32, 8}, 999);
  EXPECT_THAT(error_in(unknown.bytes), HasSubstr("expected type F32 or F16, found 999"));
}
TEST(AdapterGglaErrors, UnknownName) {
  GglaWriter file;
  file.head("blk.0.attn_k.weight", {2, 8});
  EXPECT_THAT(error_in(file.bytes), HasSubstr("expected a name that ends in .loraA or .loraB"));
}
TEST(AdapterGglaErrors, HalfMissingOrTwice) {
  GglaWriter half, twice;
  half.tensor("blk.0.attn_k.weight.loraB", {2, 4}, numbers(8, 2));
  EXPECT_THAT(error_in(half.bytes), HasSubstr("tensor blk.0.attn_k.weight.loraB: its A half is missing"));
  twice.good_pair();
  twice.good_pair();
  EXPECT_THAT(error_in(twice.bytes), HasSubstr("found twice"));
}

}  // namespace adapter_ggla_test
}  // namespace lora
