#include "convert/imatrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "convert/test_models.h"

namespace lora {
namespace imatrix_test {

using testing::ElementsAre;

void put(std::string& out, int32_t n) {
  out.append(reinterpret_cast<const char*>(&n), 4);
}
void put(std::string& out, float f) {
  out.append(reinterpret_cast<const char*>(&f), 4);
}
void put(std::string& out, const std::string& text) {
  put(out, int32_t(text.size()));
  out += text;
}

std::string old_file() {
  std::string file;
  put(file, 2);
  put(file, std::string("blk.0.attn_q.weight")), put(file, 4), put(file, 3);
  for (const float f : {1.0f, 2.0f, 3.0f}) put(file, f);
  put(file, std::string("blk.0.ffn_down.weight")), put(file, 4), put(file, 1), put(file, 8.0f);
  put(file, 7), put(file, std::string("text.txt"));
  return file;
}

Imatrix parse(const std::string& file) {
  return parse_imatrix(std::as_bytes(std::span(file)), "imatrix.dat");
}
std::string error_of(const std::string& file) {
  try {
    parse(file);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Imatrix, TheOldFormatIsRead) {
  const Imatrix imatrix = parse(old_file());
  ASSERT_EQ(imatrix.entries.size(), 2u);
  EXPECT_THAT(imatrix.entries.at("blk.0.attn_q.weight").sums, ElementsAre(1, 2, 3));
  EXPECT_THAT(imatrix.entries.at("blk.0.attn_q.weight").counts, ElementsAre(4));
  EXPECT_EQ(imatrix.n_chunks, 7);
  EXPECT_THAT(imatrix.datasets, ElementsAre("text.txt"));
  const std::string file = old_file();
  EXPECT_EQ(parse(file.substr(0, file.size() - 16)).entries.size(), 2u);  // the oldest end there
}

TEST(Imatrix, EveryCutOfTheOldFormatIsRefusedOrWhole) {
  const std::string file = old_file();
  for (size_t n = 0; n < file.size(); ++n) {
    if (n == file.size() - 16 || n == file.size() - 12) continue;  // without the text, without its name
    EXPECT_THAT(error_of(file.substr(0, n)), testing::StartsWith("imatrix.dat: ")) << n;
  }
}

TEST(Imatrix, NumbersThatCannotBeAreRefused) {
  const auto with = [](size_t at, int32_t n) {
    std::string file = old_file();
    std::memcpy(file.data() + at, &n, 4);
    return error_of(file);
  };
  EXPECT_THAT(with(0, 0), testing::HasSubstr("number of entries is 0"));
  EXPECT_THAT(with(0, -1), testing::HasSubstr("number of entries is -1"));
  EXPECT_THAT(with(4, -5), testing::HasSubstr("name of an entry is -5"));
  EXPECT_THAT(with(4, 2000000000), testing::HasSubstr("cut off"));
  EXPECT_THAT(with(27, -1), testing::HasSubstr("number of calls"));
  EXPECT_THAT(with(31, 0), testing::HasSubstr("number of values is 0"));
  EXPECT_THAT(with(31, 2147483647), testing::HasSubstr("cut off"));
  EXPECT_THAT(with(35, 0x7fc00000), testing::HasSubstr("'blk.0.attn_q.weight'"));     // NaN
  EXPECT_THAT(with(35, int32_t(0xbf800000)), testing::HasSubstr("negative number"));  // -1
}

TEST(Imatrix, WhatIsWrittenIsReadBack) {
  const test::TemporaryFolder folder;
  Imatrix imatrix;
  imatrix.entries["blk.0.attn_q.weight"] = {{1, 2, 3, 4}, {5}};
  imatrix.entries["blk.0.ffn_up_exps.weight"] = {{1, 2, 3, 4, 5, 6}, {7, 0, 9}};
  imatrix.datasets = {"a.txt", "b.txt"};
  imatrix.n_chunks = 12, imatrix.chunk_size = 512;
  write_imatrix(imatrix, folder.at("i.gguf"));
  const Imatrix again = read_imatrix(folder.at("i.gguf"));
  ASSERT_EQ(again.entries.size(), 2u);
  for (const auto& [name, entry] : imatrix.entries) {
    EXPECT_EQ(again.entries.at(name).sums, entry.sums);
    EXPECT_EQ(again.entries.at(name).counts, entry.counts);
  }
  EXPECT_EQ(again.datasets, imatrix.datasets);
  EXPECT_EQ(again.n_chunks, 12);
  EXPECT_EQ(again.chunk_size, 512);
  const Gguf file = Gguf::open(folder.at("i.gguf"));
  EXPECT_EQ(file.tensor("blk.0.ffn_up_exps.weight.in_sum2").shape(), "2 x 3");
  EXPECT_EQ(file.tensor("blk.0.ffn_up_exps.weight.counts").shape(), "1 x 3");
}

TEST(Imatrix, WhatWouldNotBeReadIsNotWritten) {
  const test::TemporaryFolder folder;
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf(""), -1.0f}) {
    Imatrix imatrix;
    imatrix.entries["blk.0.attn_q.weight"] = {{1, bad}, {5}};
    EXPECT_THROW(write_imatrix(imatrix, folder.at("i.gguf")), Error);
    EXPECT_FALSE(file_exists(folder.at("i.gguf")));
  }
}

TEST(Imatrix, AGgufThatIsNoneIsRefused) {
  const test::TemporaryFolder folder;
  const auto error = [&](const GgufWriter& writer) -> std::string {
    writer.write(folder.at("i.gguf"));
    try {
      read_imatrix(folder.at("i.gguf"));
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  GgufWriter writer;
  EXPECT_THAT(error(writer), testing::HasSubstr("expected an importance matrix"));
  writer.set_string("general.type", "imatrix");
  EXPECT_THAT(error(writer), testing::HasSubstr("without entries"));
  const float numbers[] = {1, 2, 3, 4};
  const auto bytes = std::as_bytes(std::span(numbers));
  writer.add_tensor("w.in_sum2", Type::F32, {2, 2}, bytes);
  EXPECT_THAT(error(writer), testing::HasSubstr("w.counts"));
  writer.add_tensor("w.counts", Type::F32, {1, 1}, bytes.first(4));
  EXPECT_THAT(error(writer), testing::HasSubstr("a count for each row"));
}

TEST(Imatrix, ColumnWeightsAreRelativeToTheMeanAndNeverZero) {
  const std::vector<float> sums = {2, 0, 4, 2, 0, 0, 0, 0};
  EXPECT_THAT(column_weights({sums, {3, 0}}, 4), ElementsAre(1, 1e-3f, 2, 1, 1, 1, 1, 1));
  // One count for all experts, as older files have it.
  EXPECT_EQ(column_weights({sums, {3}}, 4), column_weights({sums, {3, 0}}, 4));
}

TEST(Imatrix, ExpertsThatNoTokenReachedAreNamed) {
  const ImatrixEntry entry = {{1, 0, 0, 0, 0, 0, 0, 1}, {3}};
  EXPECT_THAT(unreached_experts(entry, 2), ElementsAre(1, 2));
  EXPECT_THAT(unreached_experts(entry, 8), ElementsAre());
  EXPECT_EQ(experts_text({}), "");
  EXPECT_EQ(experts_text({{"blk.2.ffn_gate_exps.weight", {1, 2}},
                          {"blk.2.ffn_up_exps.weight", {1, 2}},
                          {"blk.2.ffn_down_exps.weight", {0}},
                          {"blk.10.ffn_up_exps.weight", {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}}),
            "blk.2: experts 1, 2; blk.2: expert 0; blk.10: experts 0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
}

}  // namespace imatrix_test
}  // namespace lora
