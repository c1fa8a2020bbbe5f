#include "gguf/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/half.h"
#include "gguf/test_files.h"

namespace lora {
namespace safetensors_test {

using test::as_bytes;
using test::Bytes;
using test::error_of;
using test::ScratchFile;
using testing::HasSubstr;
using testing::StartsWith;

std::string file_of(std::string_view header, std::string_view data) {
  return Bytes().string(header).raw(data).data;
}

TEST(SafeTensors, ReadsTensorsAndMetadata) {
  const float values[] = {1.5f, -2.0f, 0.25f};
  const double wide = 0.1;
  Bytes data;
  for (float v : values) data.number(v);
  data.number(to_f16(0.5f).bits).number(to_bf16(3.0f).bits).number(wide).number(int32_t{7});
  const std::string header = R"({"__metadata__":{"format":"pt","type":"x"},
    "d":{"dtype":"F64","shape":[],"data_offsets":[16,24]},
    "f":{"dtype":"F32","shape":[3,1],"data_offsets":[0,12]},
    "h":{"dtype":"F16","shape":[1],"data_offsets":[12,14]},
    "b":{"dtype":"BF16","shape":[1],"data_offsets":[14,16]},
    "i":{"dtype":"I32","shape":[1],"data_offsets":[24,28]},
    "none":{"dtype":"F32","shape":[0,4],"data_offsets":[28,28]}}   )";
  const ScratchFile file("good.safetensors", file_of(header, data.data));
  const SafeTensors st = SafeTensors::open(file.path);
  EXPECT_EQ(st.path(), file.path);
  EXPECT_EQ(st.file_bytes(), file.content().size());
  EXPECT_EQ(st.metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"type", "x"}}));
  std::vector<std::string> names;
  for (const SafeTensor& t : st.tensors()) names.push_back(t.name);
  EXPECT_EQ(names, (std::vector<std::string>{"f", "h", "b", "d", "i", "none"})) << "in the order of the data";
  EXPECT_EQ(st.tensor("f").to_f32(), (std::vector<float>{1.5f, -2.0f, 0.25f}));
  EXPECT_EQ(st.tensor("f").shape, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(st.tensor("h").to_f32(), std::vector<float>{0.5f});
  EXPECT_EQ(st.tensor("b").to_f32(), std::vector<float>{3.0f});
  EXPECT_EQ(st.tensor("d").to_f32(), std::vector<float>{0.1f});
  EXPECT_EQ(st.tensor("d").n_elements(), 1);
  EXPECT_TRUE(st.tensor("none").to_f32().empty());
  EXPECT_EQ(st.find("absent"), nullptr);
  EXPECT_EQ(error_of([&] { st.tensor("absent"); }), file.path + ": tensor 'absent' is missing");
  EXPECT_THAT(error_of([&] { st.tensor("i").to_f32(); }),
              HasSubstr("tensor 'i': dtype I32 cannot be read as f32"));
}

TEST(SafeTensors, ATensorBeyondFourGibibytesIsFound) {
  const uint64_t near_bytes = uint64_t{5} << 30;
  const std::string header = R"({"near":{"dtype":"U8","shape":[5,1073741824],"data_offsets":[0,5368709120]},)"
                             R"("far":{"dtype":"F32","shape":[1],"data_offsets":[5368709120,5368709124]}})";
  const ScratchFile file("sparse.safetensors", file_of(header, ""));
  std::filesystem::resize_file(file.path, 8 + header.size() + near_bytes);
  const float value = 1.25f;
  std::ofstream(file.path, std::ios::binary | std::ios::app).write(reinterpret_cast<const char*>(&value), 4);
  const SafeTensors st = SafeTensors::open(file.path);
  EXPECT_EQ(st.tensor("near").data.size(), near_bytes);
  EXPECT_EQ(st.tensor("far").to_f32(), std::vector<float>{1.25f});
}

struct Corruption {
  std::string name, bytes, message;
};
void PrintTo(const Corruption& c, std::ostream* out) {
  *out << c.name;
}

std::vector<Corruption> corruptions() {
  const std::string data(16, '\1');
  const auto header = [&](std::string_view text) { return file_of(text, data); };
  const auto tensor = [&](const std::string& fields) { return file_of("{\"t\":{" + fields + "}}", data); };
  const auto two = [&](const std::string& a, const std::string& b) {
    return header("{" + a + "," + b + "}");
  };
  const std::string whole = R"("t":{"dtype":"U8","shape":[16],"data_offsets":[0,16]})";
  const std::string first = R"("a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]})";
  const std::string overlapping = R"("b":{"dtype":"U8","shape":[12],"data_offsets":[4,16]})";
  std::string many_numbers = "1";
  for (int i = 0; i < 64; ++i) many_numbers += ",1";
  const std::string overflow = R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16])";
  return {
      {"Empty", "", "not a safetensors file: it is empty"},
      {"ShorterThanItsLength", "1234567", "not a safetensors file (7 bytes)"},
      {"TextFile", "Call me Ishmael. Some years ago", "not a safetensors file (a header of"},
      {"HeaderLengthOverflows", Bytes().u64(UINT64_MAX).raw("{}").data,
       "not a safetensors file (a header of"},
      {"HeaderCutOff", Bytes().u64(100).raw("{\"t\":").data, "truncated: the header takes 100 bytes"},
      {"HeaderEmpty", header(""), "not valid JSON"},
      {"HeaderNoJson", header("{\"t\":{]}"), "not valid JSON at its byte 7"},
      {"HeaderNotUtf8", header("{\"\xff\":1}"), "not valid JSON"},
      {"HeaderNoObject", header("[1]"), "not a JSON object"},
      {"HeaderNull", header("null"), "not a JSON object"},
      {"NumberTooLarge", tensor(R"("dtype":"U8","shape":[1e999],"data_offsets":[0,16])"), "not valid JSON"},
      {"DeepNesting", header(std::string(1 << 20, '[')), "nests deeper than the format allows"},
      {"DeepNestingInATensor", tensor(R"("dtype":"U8","shape":[[16]],"data_offsets":[0,16])"),
       "nests deeper"},
      {"ListOfManyNumbers", tensor("\"shape\":[" + many_numbers + "]"), "a list of more than 64 numbers"},
      {"NameTwice", two(whole, whole), "tensor 't' occurs twice"},
      {"EntryNoObject", header(R"({"t":1})"), "tensor 't': its entry is not an object"},
      {"DtypeMissing", tensor(R"("shape":[16],"data_offsets":[0,16])"),
       "tensor 't': 'dtype' is not a string"},
      {"DtypeUnknown", tensor(R"("dtype":"Q9","shape":[16],"data_offsets":[0,16])"),
       "dtype 'Q9' is not supported"},
      {"ShapeMissing", tensor(R"("dtype":"U8","data_offsets":[0,16])"), "'shape' is not an array"},
      {"ShapeNegative", tensor(R"("dtype":"U8","shape":[-16],"data_offsets":[0,16])"),
       "'shape' holds something"},
      {"ShapeFractional", tensor(R"("dtype":"U8","shape":[16.0],"data_offsets":[0,16])"),
       "'shape' holds something"},
      {"ShapeBeyond63Bits", tensor(R"("dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,16])"),
       "'shape' holds something that is not a size"},
      {"ShapeOverflows", tensor(overflow), "offsets span 16 bytes, which is not what its shape takes in F32"},
      {"OffsetsMissing", tensor(R"("dtype":"U8","shape":[16])"), "'data_offsets' is not an array"},
      {"OffsetsOfThree", tensor(R"("dtype":"U8","shape":[16],"data_offsets":[0,8,16])"),
       "is not [begin, end]"},
      {"OffsetsBackwards", tensor(R"("dtype":"U8","shape":[16],"data_offsets":[16,0])"),
       "is not [begin, end]"},
      {"OffsetsDisagreeWithShape", tensor(R"("dtype":"F16","shape":[16],"data_offsets":[0,16])"),
       "offsets span 16"},
      {"DataCutOff", tensor(R"("dtype":"U8","shape":[17],"data_offsets":[0,17])"),
       "truncated: tensor 't' ends at byte 17 of the data, of which the file has 16"},
      {"HoleAtTheStart", tensor(R"("dtype":"U8","shape":[8],"data_offsets":[8,16])"), "starts at byte 8"},
      {"BytesLeftOver", tensor(R"("dtype":"U8","shape":[8],"data_offsets":[0,8])"),
       "8 bytes of data belong to no"},
      {"Overlap", two(first, overlapping), "tensor 'b' starts at byte 4 of the data, expected 8"},
      {"MetadataNoObject", header(R"({"__metadata__":[]})"), "'__metadata__' is not an object"},
      {"MetadataNoString", header(R"({"__metadata__":{"k":1}})"), "metadata 'k' is not a string"},
  };
}

class CorruptSafeTensors : public testing::TestWithParam<Corruption> {};

TEST_P(CorruptSafeTensors, IsRefusedAndSaysWhy) {
  const std::string error =
      error_of([&] { SafeTensors::parse(as_bytes(GetParam().bytes), "bad.safetensors"); });
  EXPECT_THAT(error, StartsWith("bad.safetensors: "));
  EXPECT_THAT(error, HasSubstr(GetParam().message));
  EXPECT_EQ(error.find('\n'), std::string::npos) << "an error is one line";
}

INSTANTIATE_TEST_SUITE_P(, CorruptSafeTensors, testing::ValuesIn(corruptions()),
                         [](const auto& test) { return test.param.name; });

TEST(SafeTensors, EveryCutIsRefused) {
  const std::string bytes =
      file_of(R"({"t":{"dtype":"U8","shape":[2,8],"data_offsets":[0,16]}})", std::string(16, '\1'));
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<char> cut(bytes.begin(), bytes.begin() + int64_t(size));
    const std::string error = error_of([&] { SafeTensors::parse(std::as_bytes(std::span(cut)), "cut"); });
    ASSERT_THAT(error, StartsWith("cut: ")) << size << " of " << bytes.size() << " bytes";
  }
  EXPECT_EQ(error_of([&] { SafeTensors::parse(as_bytes(bytes), "whole"); }), "");
}

}  // namespace safetensors_test
}  // namespace lora
