// Files that are wrong in one place each, built by hand: every one is refused with a message that says
// which place. A row is a name, the bytes, and what the message must hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "gguf/gguf.h"
#include "gguf/test_files.h"

namespace lora {
namespace gguf_corrupt_test {

using test::as_bytes;
using test::Bytes;
using test::error_of;
using testing::HasSubstr;
using testing::StartsWith;

constexpr uint32_t f32_id = 0, q8_0_id = 8;

// A header with room for one corruption.
Bytes header(uint64_t n_tensors, uint64_t n_values, uint32_t version = 3) {
  Bytes b;
  b.raw("GGUF").u32(version).u64(n_tensors).u64(n_values);
  return b;
}

// One key of a value type id; the caller appends the value.
Bytes one_key(uint32_t type) {
  return header(0, 1).string("some.key").u32(type);
}

struct TensorInfo {
  std::string name = "blk.0.attn_q.weight";
  std::vector<uint64_t> ne = {4, 2};
  uint32_t type = f32_id;
  uint64_t offset = 0;
  uint64_t data_bytes = 32;
};

Bytes& append_info(Bytes& b, const TensorInfo& t) {
  b.string(t.name).u32(uint32_t(t.ne.size()));
  for (uint64_t n : t.ne) b.u64(n);
  return b.u32(t.type).u64(t.offset);
}

std::string pad_and_data(Bytes b, uint64_t data_bytes) {
  b.raw(std::string((32 - b.data.size() % 32) % 32, '\0'));
  return b.raw(std::string(data_bytes, '\x01')).data;
}

std::string one_tensor(const TensorInfo& t) {
  Bytes b = header(1, 0);
  return pad_and_data(append_info(b, t), t.data_bytes);
}

struct Corruption {
  std::string name;
  std::string bytes;
  std::string message;
};
void PrintTo(const Corruption& c, std::ostream* out) {
  *out << c.name;
}

std::vector<Corruption> corrupt_headers() {
  Bytes big_endian;
  big_endian.raw("GGUF").u32(0x03000000).u64(0).u64(0);
  return {
      {"Overlap",
       Bytes()
           .raw("GGUF")
           .u32(3)
           .u64(2)
           .u64(0)
           .string("a")
           .u32(1)
           .u64(16)
           .u32(0)
           .u64(0)
           .string("b")
           .u32(1)
           .u64(8)
           .u32(0)
           .u64(32)
           .raw(std::string(6 + 64, '\0'))
           .data,
       "tensors 'a' and 'b' overlap"},
      {"Empty", "", "not a GGUF file: it is empty"},
      {"OnlyHalfTheMagic", "GG", "not a GGUF file (magic 'GG'"},
      {"AnotherMagic", Bytes().raw("ggla").u32(1).u64(0).data, "not a GGUF file (magic 'ggla'"},
      {"BinaryMagic", std::string("\x7f\0\n\xff more", 9), "not a GGUF file (magic '\\x7f\\x00\\n\\xff'"},
      {"NoVersion", "GGUF", "truncated: the header needs 4 bytes at byte 4, 0 are left"},
      {"VersionZero", header(0, 0, 0).data, "GGUF version 0, expected 2 or 3"},
      {"VersionOne", header(0, 0, 1).data, "GGUF version 1, expected 2 or 3: convert the model again"},
      {"VersionFour", header(0, 0, 4).data, "GGUF version 4, expected 2 or 3"},
      {"BigEndian", big_endian.data, "big-endian GGUF, expected little-endian"},
      {"NoTensorCount", Bytes().raw("GGUF").u32(3).data, "truncated: the header needs 8 bytes"},
      {"NoKeyCount", Bytes().raw("GGUF").u32(3).u64(0).data, "truncated: the header needs 8 bytes"},
      {"HugeTensorCount", header(UINT64_MAX, 0).data, "truncated: 18446744073709551615 tensors do not fit"},
      {"HugeKeyCount", header(0, UINT64_MAX / 8).data, "truncated: 2305843009213693951 keys do not fit"},
      {"MoreKeysThanFollow", header(0, 2).string("k").u32(0).u8(1).raw(std::string(40, '\0')).data,
       "key 2 of 2 has an empty name"},
  };
}

std::vector<Corruption> corrupt_values() {
  const auto array = [](uint32_t element_type, uint64_t count) {
    return one_key(9).u32(element_type).u64(count);
  };
  const std::string filler(64, '\0');
  return {
      {"KeyWithoutName", header(0, 1).string("").u32(0).u8(1).raw(filler).data,
       "key 1 of 1 has an empty name"},
      {"KeyLongerThanTheFile", header(0, 1).u64(1000).raw(filler).data,
       "truncated: key 1 of 1 needs 1000 bytes"},
      {"KeyLengthOverflows", header(0, 1).u64(UINT64_MAX).raw(filler).data, "truncated: key 1 of 1 needs"},
      {"KeyLongerThanAllowed", header(0, 1).string(std::string(65536, 'k')).u32(0).u8(1).data,
       "name of 65536 bytes, expected at most 65535"},
      {"KeyTwice", header(0, 2).string("k").u32(0).u8(1).string("k").u32(0).u8(1).data,
       "key 'k' occurs twice"},
      {"ValueTypeMissing", header(0, 1).string("some.key!").raw("12").data,
       "truncated: key 'some.key!' needs 4"},
      {"ValueTypeUnknown", one_key(13).u64(0).data, "key 'some.key' has the unknown value type 13"},
      {"NumberCutOff", one_key(10).u32(1).data, "truncated: key 'some.key' needs 8 bytes"},
      {"BooleanOfTwo", one_key(7).u8(2).data, "key 'some.key' holds the boolean 2, expected 0 or 1"},
      {"StringLongerThanTheFile", one_key(8).u64(100).raw("short").data,
       "truncated: key 'some.key' needs 100 bytes"},
      {"StringLengthOverflows", one_key(8).u64(UINT64_MAX - 7).raw("short").data,
       "truncated: key 'some.key' needs"},
      {"ArrayOfArrays", array(9, 1).u32(0).u64(0).data, "is an array of element type 9"},
      {"ArrayElementTypeUnknown", array(99, 1).u64(0).data, "is an array of element type 99"},
      {"ArrayCountBeyondTheFile", array(4, 3).u64(0).data, "truncated: 3 array elements of key 'some.key'"},
      {"ArrayCountOverflows", array(10, UINT64_MAX / 4).raw(filler).data,
       "array elements of key 'some.key' do not"},
      {"ArrayOfStringsCountBeyondTheFile", array(8, uint64_t{1} << 40).raw(filler).data,
       "array elements of key"},
      {"ArrayStringCutOff", array(8, 2).string("a").u64(9).data, "truncated: key 'some.key' needs 9 bytes"},
      {"ArrayBooleanOfTwo", array(7, 2).u8(1).u8(2).data, "holds the boolean 2"},
      {"AlignmentOfAnotherType", header(0, 1).string("general.alignment").u32(10).u64(32).data,
       "key 'general.alignment' is a u64, expected u32"},
      {"AlignmentZero", header(0, 1).string("general.alignment").u32(4).u32(0).data,
       "'general.alignment' is 0, expected a power of two"},
      {"AlignmentNoPowerOfTwo", header(0, 1).string("general.alignment").u32(4).u32(48).data,
       "'general.alignment' is 48, expected a power of two"},
      {"AlignmentTooSmall", header(0, 1).string("general.alignment").u32(4).u32(4).data,
       "'general.alignment' is 4, expected a power of two from 8"},
  };
}

std::vector<Corruption> corrupt_tensors() {
  const auto tensor = [](auto change) {
    TensorInfo t;
    change(t);
    return one_tensor(t);
  };
  Bytes twice = header(2, 0);
  append_info(append_info(twice, {}), {});
  // Two tensors of 32 bytes, by what the second one says of its place and how much data there is.
  const auto two = [](const TensorInfo& first, const TensorInfo& second, uint64_t data_bytes) {
    Bytes b = header(2, 0);
    return pad_and_data(append_info(append_info(b, first), second), data_bytes);
  };
  Bytes wide_alignment = header(1, 1).string("general.alignment").u32(4).u32(0x80000000u);
  append_info(wide_alignment, {});
  const std::string named = "tensor 'blk.0.attn_q.weight'";
  const uint64_t high_bit = uint64_t{1} << 63, big = uint64_t{1} << 32;
  return {
      {"NameEmpty", tensor([](TensorInfo& t) { t.name = ""; }), "tensor 1 of 1 has an empty name"},
      {"NameLongerThanAllowed", tensor([](TensorInfo& t) { t.name = std::string(70000, 'n'); }),
       "name of 70000 bytes, expected at most 65535"},
      {"NameWithLineFeed", tensor([](TensorInfo& t) { t.name = "a\nb", t.type = 99; }),
       "tensor 'a\\nb' has type id 99"},
      {"NameTwice", pad_and_data(twice, 64), named + " occurs twice"},
      {"NoDimensions", tensor([](TensorInfo& t) { t.ne = {}; }),
       named + " has 0 dimensions, expected 1 to 4"},
      {"FiveDimensions", tensor([](TensorInfo& t) {
         t.ne = {1, 1, 1, 1, 1};
       }),
       named + " has 5 dimensions"},
      {"DimensionZero", tensor([](TensorInfo& t) {
         t.ne = {4, 0};
       }),
       named + ": dimension 1 is 0"},
      {"DimensionNegative", tensor([&](TensorInfo& t) { t.ne = {high_bit | 4}; }),
       named + ": dimension 0 is -"},
      {"ElementsOverflow", tensor([&](TensorInfo& t) {
         t.ne = {big, big};
       }),
       "more elements than 64 bits can count"},
      {"ElementsOverflowToZero", tensor([&](TensorInfo& t) {
         t.ne = {big, big / 2, 4, 2};
       }),
       "more elements than"},
      {"BytesOverflow", tensor([&](TensorInfo& t) {
         t.ne = {big, big / 4};
       }),
       "more bytes than 64 bits can count"},
      {"RowIsNoMultipleOfTheBlock", tensor([](TensorInfo& t) {
         t.type = q8_0_id, t.ne = {48, 2};
       }),
       named + ": rows of 48 values cannot be Q8_0, whose blocks hold 32"},
      {"TypeUnknown", tensor([](TensorInfo& t) { t.type = 0x7fffffff; }), named + " has type id 2147483647"},
      {"TypeRemovedFromGgml", tensor([](TensorInfo& t) { t.type = 4; }),
       named + " has type id 4, expected one of F32"},
      {"TypeNotSupported", tensor([](TensorInfo& t) { t.type = 31; }), named + " has type id 31"},
      {"OffsetUnaligned", tensor([](TensorInfo& t) { t.offset = 16, t.data_bytes = 64; }),
       named + " has offset 16, expected a multiple of 32"},
      {"OffsetBeyondTheFile", tensor([](TensorInfo& t) { t.offset = 64; }),
       "truncated: " + named + " takes 32 bytes at offset 64 of the data, of which the file has 32"},
      {"OffsetOverflows", tensor([](TensorInfo& t) { t.offset = UINT64_MAX - 31; }), "truncated: " + named},
      {"SmallerTypeThanTheData", two({"a", {32}, q8_0_id}, {"b", {8}, f32_id, 128}, 160),
       "tensor 'a' (Q8_0, 32) ends at byte 34 of the data, but 'b' begins at byte 128, expected 64"},
      {"SmallerTypeThanTheDataOfTheLast", two({"a", {8}}, {"b", {32}, q8_0_id, 32}, 160),
       "tensor 'b' (Q8_0, 32) ends at byte 66 of the data, but the file ends at byte 160, expected 96"},
      {"GapBeforeTheFirst", tensor([](TensorInfo& t) { t.offset = 32, t.data_bytes = 64; }),
       "'blk.0.attn_q.weight' begins at byte 32 of the data, expected 0"},
      {"OverlapInAnotherOrder", two({"a", {8}, f32_id, 32}, {"b", {16}}, 64), "tensors 'b' and 'a' overlap"},
      {"DataOneByteShort", tensor([](TensorInfo& t) { t.data_bytes = 31; }),
       "truncated: " + named + " takes 32"},
      {"DataSizeNearTheLimit", tensor([&](TensorInfo& t) { t.ne = {high_bit / 8}; }), "truncated: " + named},
      {"AlignmentBeyondTheFile", pad_and_data(wide_alignment, 64), "truncated: " + named},
  };
}

class CorruptGguf : public testing::TestWithParam<Corruption> {};

TEST_P(CorruptGguf, IsRefusedAndSaysWhy) {
  const std::string error = error_of([&] { Gguf::parse(as_bytes(GetParam().bytes), "bad.gguf"); });
  EXPECT_THAT(error, StartsWith("bad.gguf: "));
  EXPECT_THAT(error, HasSubstr(GetParam().message));
  EXPECT_EQ(error.find('\n'), std::string::npos) << "an error is one line";
}

const auto name_of = [](const auto& test) { return test.param.name; };
INSTANTIATE_TEST_SUITE_P(Header, CorruptGguf, testing::ValuesIn(corrupt_headers()), name_of);
INSTANTIATE_TEST_SUITE_P(Value, CorruptGguf, testing::ValuesIn(corrupt_values()), name_of);
INSTANTIATE_TEST_SUITE_P(Tensor, CorruptGguf, testing::ValuesIn(corrupt_tensors()), name_of);

// A small file with a value of each kind and two tensors, to cut and to damage.
std::string sound_file() {
  Bytes b = header(2, 4);
  b.string("general.architecture").u32(8).string("llama");
  b.string("tokenizer.ggml.tokens").u32(9).u32(8).u64(2).string("<s>").string("</s>");
  b.string("tokenizer.ggml.scores").u32(9).u32(6).u64(2).number(0.0f).number(-1.0f);
  b.string("llama.block_count").u32(4).u32(1);
  append_info(b, {});
  append_info(b, {"output.weight", {32, 2}, q8_0_id, 32, 68});
  return pad_and_data(b, 100);
}

TEST(Gguf, TheSoundFileThatTheOthersAreMadeFromIsRead) {
  const std::string bytes = sound_file();
  const Gguf gguf = Gguf::parse(as_bytes(bytes), "sound.gguf");
  EXPECT_EQ(gguf.tensors().size(), 2u);
  EXPECT_EQ(gguf.tensor("output.weight").data.size(), 68u);
  EXPECT_EQ(gguf.get_strings("tokenizer.ggml.tokens")->at(1), "</s>");
}

TEST(Gguf, TensorsLieInAnyOrder) {
  Bytes b = header(2, 0);
  append_info(append_info(b, {"a", {4}, f32_id, 64}), {"b", {10}});
  const std::string bytes = pad_and_data(b, 64 + 16);
  const Gguf gguf = Gguf::parse(as_bytes(bytes), "any-order.gguf");
  EXPECT_EQ(gguf.tensor("a").data.data() - gguf.tensor("b").data.data(), 64);
}

TEST(Gguf, ZerosFillTheLastPageAndNothingElse) {
  std::string bytes = sound_file();
  bytes.append(4096 - bytes.size() % 4096, '\0');
  EXPECT_NO_THROW(Gguf::parse(as_bytes(bytes), "filled.gguf"));
  bytes.back() = 1;
  EXPECT_THAT(test::error_of([&] { Gguf::parse(as_bytes(bytes), "more.gguf"); }),
              testing::HasSubstr("the file ends at byte"));
}

TEST(Gguf, EveryCutIsRefusedAsTruncated) {
  const std::string bytes = sound_file();
  for (size_t size = 4; size < bytes.size(); ++size) {
    // A copy of its own length, so that the address sanitizer sees a read beyond it.
    const std::vector<char> cut(bytes.begin(), bytes.begin() + int64_t(size));
    const std::string error = error_of([&] { Gguf::parse(std::as_bytes(std::span(cut)), "cut.gguf"); });
    ASSERT_THAT(error, StartsWith("cut.gguf: truncated: ")) << size << " of " << bytes.size() << " bytes";
  }
}

TEST(Gguf, AnyDamagedByteIsReadOrRefusedButHarmsNothing) {
  const std::string sound = sound_file();
  int n_refused = 0;
  for (size_t at = 0; at < sound.size(); ++at) {
    for (int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      std::string bytes = sound;
      bytes[at] = char(value);
      n_refused += !error_of([&] { Gguf::parse(as_bytes(bytes), "damaged.gguf"); }).empty();
    }
  }
  EXPECT_GT(n_refused, int(sound.size())) << "most of this file's bytes are lengths, types and counts";
}

TEST(Gguf, MissingFilesAndFoldersAreNamed) {
  EXPECT_THAT(error_of([] { Gguf::open("/nonexistent/model.gguf"); }),
              HasSubstr("/nonexistent/model.gguf: cannot open"));
  EXPECT_THAT(error_of([] { Gguf::open("/tmp"); }), HasSubstr("/tmp: cannot open: a folder"));
}

}  // namespace gguf_corrupt_test
}  // namespace lora
