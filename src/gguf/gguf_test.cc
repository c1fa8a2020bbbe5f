// Reading what was written, typed access to metadata, real files, and tensors beyond 4 GiB.
#include "gguf/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "base/file.h"
#include "gguf/test_files.h"

namespace lora {
namespace gguf_test {

using test::Bytes;
using test::error_of;
using test::ScratchFile;
using testing::HasSubstr;

// Whether a writer has left something beside a file.
bool leaves_something(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().string().starts_with(path + ".")) return true;
  }
  return false;
}

struct NamedValue {
  std::string name;
  GgufValue value;
};

GgufValue array_of(GgufValueType element_type, decltype(GgufValue::value) elements) {
  return {GgufValueType::array, element_type, std::move(elements)};
}

// Every value type with its extremes, as a scalar and as an array.
std::vector<NamedValue> values_of_every_type() {
  using T = GgufValueType;
  using U = std::vector<uint64_t>;
  using I = std::vector<int64_t>;
  using D = std::vector<double>;
  using S = std::vector<std::string>;
  return {
      {"u8", {T::u8, {}, uint64_t{255}}},
      {"i8", {T::i8, {}, int64_t{-128}}},
      {"u16", {T::u16, {}, uint64_t{65535}}},
      {"i16", {T::i16, {}, int64_t{-32768}}},
      {"u32", {T::u32, {}, uint64_t{0xffffffff}}},
      {"i32", {T::i32, {}, int64_t{INT32_MIN}}},
      {"u64", {T::u64, {}, UINT64_MAX}},
      {"i64", {T::i64, {}, INT64_MIN}},
      {"f32", {T::f32, {}, double{-0.1f}}},
      {"f32_infinite", {T::f32, {}, double(INFINITY)}},
      {"f64", {T::f64, {}, 1e300}},
      {"true", {T::boolean, {}, true}},
      {"false", {T::boolean, {}, false}},
      {"string", {T::string, {}, std::string("a\0b \xff", 5)}},
      {"string_empty", {T::string, {}, std::string()}},
      {"u8s", array_of(T::u8, U{0, 255})},
      {"i8s", array_of(T::i8, I{-128, 127})},
      {"u16s", array_of(T::u16, U{0, 65535})},
      {"i16s", array_of(T::i16, I{-32768, 32767})},
      {"u32s", array_of(T::u32, U{0, 0xffffffff})},
      {"i32s", array_of(T::i32, I{INT32_MIN, INT32_MAX})},
      {"u64s", array_of(T::u64, U{0, UINT64_MAX})},
      {"i64s", array_of(T::i64, I{INT64_MIN, INT64_MAX})},
      {"f32s", array_of(T::f32, D{0.5, double{1e-40f}})},
      {"f64s", array_of(T::f64, D{0.1, -5e-324})},
      {"bools", array_of(T::boolean, U{1, 0, 1})},
      {"strings", array_of(T::string, S{"", "a", "\xe2\x96\x81the"})},
      {"strings_empty", array_of(T::string, S{})},
  };
}

TEST(Gguf, EveryValueTypeSurvivesARoundTrip) {
  const std::vector<NamedValue> expected = values_of_every_type();
  GgufWriter writer;
  for (const auto& [name, value] : expected) writer.set("test." + name, value);
  const ScratchFile file("values.gguf");
  writer.write(file.path);
  const Gguf gguf = Gguf::open(file.path);
  EXPECT_EQ(gguf.version(), 3u);
  EXPECT_EQ(gguf.path(), file.path);
  EXPECT_EQ(gguf.file_bytes(), file.content().size());
  ASSERT_EQ(gguf.values().size(), expected.size());
  for (size_t i = 0; i < gguf.values().size(); ++i) {
    const auto& [name, written] = expected[i];
    const auto& [key, read] = gguf.values()[i];
    EXPECT_EQ(key, "test." + name);
    EXPECT_EQ(read.type, written.type) << key;
    if (written.type == GgufValueType::array) {
      EXPECT_EQ(read.element_type, written.element_type) << key;
    }
    EXPECT_EQ(read.value, written.value) << key;
  }
}

TEST(Gguf, WhatWasReadIsWrittenBackByteForByte) {
  const std::vector<float> numbers = {1, 2, 3, 4, 5, 6};
  const std::string q8(2 * 34, '\x11');
  GgufWriter writer;
  for (const auto& [name, value] : values_of_every_type()) writer.set(name, value);
  writer.add_tensor("floats", Type::F32, {3, 2}, std::as_bytes(std::span(numbers)));
  writer.add_tensor("blocks", Type::Q8_0, {32, 1, 2}, test::as_bytes(q8));
  const ScratchFile first("first.gguf"), second("second.gguf");
  writer.write(first.path);

  const Gguf gguf = Gguf::open(first.path);
  GgufWriter copy;
  for (const auto& [key, value] : gguf.values()) copy.set(key, value);
  for (const GgufTensor& t : gguf.tensors()) copy.add_tensor(t.name, t.type, {t.ne, t.ne + t.n_dims}, t.data);
  copy.write(second.path);
  EXPECT_EQ(first.content(), second.content());
}

TEST(Gguf, TensorsSurviveARoundTripAtEveryAlignment) {
  const std::vector<float> a = {1, 2, 3}, b = {4, 5, 6, 7};
  for (uint32_t alignment : {0u, 8u, 32u, 4096u, 65536u}) {  // 0: the default
    GgufWriter writer;
    if (alignment) writer.set_u32("general.alignment", alignment);
    writer.add_tensor("a", Type::F32, {3}, std::as_bytes(std::span(a)));
    writer.add_tensor("b.weight", Type::F32, {2, 2}, std::as_bytes(std::span(b)));
    const ScratchFile file("aligned.gguf");
    writer.write(file.path);
    const Gguf gguf = Gguf::open(file.path);
    const MappedFile mapped(file.path);
    const uint64_t expected_alignment = alignment ? alignment : 32;
    EXPECT_EQ(gguf.file_bytes() % expected_alignment, 0u);
    ASSERT_EQ(gguf.tensors().size(), 2u);
    const GgufTensor& tensor = gguf.tensor("b.weight");
    EXPECT_EQ(tensor.shape(), "2 x 2");
    EXPECT_EQ(tensor.n_elements(), 4);
    EXPECT_EQ(tensor.matrix().n_rows, 2);
    EXPECT_EQ(tensor.matrix().n_cols, 2);
    ASSERT_EQ(tensor.data.size(), 16u);
    EXPECT_EQ(std::memcmp(tensor.data.data(), b.data(), 16), 0);
    const uint64_t a_padded = (12 + expected_alignment - 1) / expected_alignment * expected_alignment;
    EXPECT_EQ(uint64_t(tensor.data.data() - gguf.tensor("a").data.data()), a_padded);
    EXPECT_EQ(uintptr_t(tensor.data.data()) % std::min<uint64_t>(expected_alignment, 4096), 0u);
  }
}

TEST(Gguf, ASecondSetReplacesTheValueInPlace) {
  GgufWriter writer;
  writer.set_string("a", "old");
  writer.set_bool("b", true);
  writer.set_strings("a", {"new"});
  const ScratchFile file("replaced.gguf");
  writer.write(file.path);
  const Gguf gguf = Gguf::open(file.path);
  ASSERT_EQ(gguf.values().size(), 2u);
  EXPECT_EQ(gguf.values()[0].first, "a");
  EXPECT_EQ(*gguf.get_strings("a"), std::vector<std::string>{"new"});
}

TEST(Gguf, TypedAccessConvertsWhatFitsAndNamesWhatDoesNot) {
  GgufWriter writer;
  for (const auto& [name, value] : values_of_every_type()) writer.set(name, value);
  const ScratchFile file("typed.gguf");
  writer.write(file.path);
  const Gguf gguf = Gguf::open(file.path);

  EXPECT_EQ(gguf.get_int("u8"), 255);
  EXPECT_EQ(gguf.get_int("i64"), INT64_MIN);
  EXPECT_EQ(gguf.get_float("f32"), double{-0.1f});
  EXPECT_EQ(gguf.get_float("f64"), 1e300);
  EXPECT_EQ(gguf.get_bool("true"), true);
  EXPECT_EQ(gguf.get_string("string")->size(), 5u);
  EXPECT_EQ(gguf.get_strings("strings")->at(2), "\xe2\x96\x81the");
  EXPECT_EQ(*gguf.get_ints("u16s"), (std::vector<int64_t>{0, 65535}));
  EXPECT_EQ(*gguf.get_ints("i8s"), (std::vector<int64_t>{-128, 127}));
  EXPECT_EQ(*gguf.get_ints("bools"), (std::vector<int64_t>{1, 0, 1}));
  EXPECT_EQ(*gguf.get_floats("f32s"), (std::vector<double>{0.5, double{1e-40f}}));

  EXPECT_FALSE(gguf.get_int("absent") || gguf.get_float("absent") || gguf.get_bool("absent"));
  EXPECT_FALSE(gguf.get_string("absent") || gguf.get_ints("absent") || gguf.get_floats("absent"));
  EXPECT_EQ(gguf.get_strings("absent"), nullptr);
  EXPECT_EQ(gguf.find("absent"), nullptr);

  const auto fails = [&](auto action, const std::string& why) {
    EXPECT_THAT(error_of(action), HasSubstr(file.path + ": key " + why));
  };
  fails([&] { gguf.get_int("u64"); }, "'u64' is a value of type u64, expected an integer of at most 63 bits");
  fails([&] { gguf.get_int("f32"); }, "'f32' is a value of type f32, expected an integer");
  fails([&] { gguf.get_float("u8"); }, "'u8' is a value of type u8, expected a floating-point");
  fails([&] { gguf.get_bool("u8"); }, "'u8' is a value of type u8, expected a bool");
  fails([&] { gguf.get_string("strings"); },
        "'strings' is a value of type array of string, expected a string");
  fails([&] { gguf.get_strings("string"); },
        "'string' is a value of type string, expected an array of strings");
  fails([&] { gguf.get_ints("f32s"); },
        "'f32s' is a value of type array of f32, expected an array of integers");
  fails([&] { gguf.get_ints("u64s"); },
        "'u64s' is a value of type array of u64, expected integers of at most 63");
  fails([&] { gguf.get_floats("i8s"); },
        "'i8s' is a value of type array of i8, expected an array of floating");
  EXPECT_EQ(error_of([&] { gguf.tensor("output.weight"); }),
            file.path + ": tensor 'output.weight' is missing");
}

TEST(GgufWriter, RefusesWhatTheReaderWouldRefuse) {
  const std::vector<float> four = {1, 2, 3, 4};
  const auto data = std::as_bytes(std::span(four));
  const auto add_error = [&](Type type, std::vector<int64_t> ne) {
    return error_of([&] { GgufWriter().add_tensor("t", type, ne, data); });
  };
  EXPECT_THAT(add_error(Type::F32, {5}), HasSubstr("tensor 't': 16 bytes of data, expected 20"));
  EXPECT_THAT(add_error(Type::F32, {}), HasSubstr("has 0 dimensions"));
  EXPECT_THAT(add_error(Type::F32, {1, 1, 1, 1, 4}), HasSubstr("has 5 dimensions"));
  EXPECT_THAT(add_error(Type::F32, {4, 0}), HasSubstr("dimension 1 is 0"));
  EXPECT_THAT(add_error(Type::Q8_0, {16}),
              HasSubstr("rows of 16 values cannot be Q8_0, whose blocks hold 32"));
  EXPECT_THAT(add_error(Type::F32, {INT64_MAX, 2}), HasSubstr("more elements than 64 bits"));
  EXPECT_THAT(add_error(Type::F64, {INT64_MAX}), HasSubstr("more bytes than 64 bits"));

  const ScratchFile file("refused.gguf");
  const auto write_error = [&](auto prepare) {
    GgufWriter writer;
    prepare(writer);
    return error_of([&] { writer.write(file.path); });
  };
  using T = GgufValueType;
  const auto value_error = [&](GgufValue value) {
    return write_error([&](GgufWriter& w) { w.set("key", value); });
  };
  EXPECT_THAT(value_error({T::u8, {}, uint64_t{256}}), HasSubstr("key 'key': 256 does not fit"));
  EXPECT_THAT(value_error({T::i32, {}, int64_t{1} << 31}), HasSubstr("does not fit"));
  EXPECT_THAT(value_error({T::f32, {}, 1e300}), HasSubstr("does not fit"));
  EXPECT_THAT(value_error({T::u8, {}, int64_t{1}}), HasSubstr("another kind of value than its type u8"));
  EXPECT_THAT(value_error({T(13), {}, int64_t{1}}), HasSubstr("unknown value type 13"));
  EXPECT_THAT(value_error(array_of(T::array, std::vector<uint64_t>{1})), HasSubstr("element type 9"));
  EXPECT_THAT(value_error(array_of(T::boolean, std::vector<uint64_t>{2})), HasSubstr("boolean 2"));
  EXPECT_THAT(write_error([](GgufWriter& w) { w.set_u32("general.alignment", 24); }),
              HasSubstr("power of two"));
  EXPECT_THAT(write_error([](GgufWriter& w) { w.set_u32("", 1); }), HasSubstr("has 0 bytes"));
  EXPECT_THAT(write_error([&](GgufWriter& w) {
                w.add_tensor("same", Type::F32, {4}, data);
                w.add_tensor("same", Type::F32, {4}, data);
              }),
              HasSubstr("tensor 'same' occurs twice"));
  EXPECT_FALSE(file_exists(file.path)) << "a refused file must not appear";
  EXPECT_FALSE(leaves_something(file.path));
}

TEST(Gguf, VersionTwoIsReadLikeThree) {
  Bytes b;
  b.raw("GGUF").u32(2).u64(0).u64(1).string("general.architecture").u32(8).string("llama");
  const Gguf gguf = Gguf::parse(test::as_bytes(b.data), "two.gguf");
  EXPECT_EQ(gguf.version(), 2u);
  EXPECT_EQ(gguf.get_string("general.architecture"), "llama");
  EXPECT_TRUE(gguf.tensors().empty());
}

TEST(Gguf, ATensorBeyondFourGibibytesIsFound) {
  // One value at 5 GiB and one matrix of 5 GiB before it, in a sparse file that takes a few kilobytes.
  const uint64_t near_bytes = uint64_t{5} << 30;
  Bytes b;
  b.raw("GGUF").u32(3).u64(2).u64(0);
  b.string("near").u32(2).u64(1 << 16).u64(near_bytes / 4 >> 16).u32(uint32_t(Type::F32)).u64(0);
  b.string("far").u32(1).u64(2).u32(uint32_t(Type::F32)).u64(near_bytes);
  b.raw(std::string((32 - b.data.size() % 32) % 32, '\0'));
  const uint64_t data_start = b.data.size();
  const ScratchFile file("sparse.gguf", b.data);
  std::filesystem::resize_file(file.path, data_start + near_bytes + 8);
  const float last_of_near = 3.5f, far[2] = {1.25f, -2.0f};
  {
    std::fstream out(file.path, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(std::streamoff(data_start + near_bytes - 4));
    out.write(reinterpret_cast<const char*>(&last_of_near), 4);
    out.write(reinterpret_cast<const char*>(far), 8);
    ASSERT_TRUE(out.good());
  }
  {
    const Gguf gguf = Gguf::open(file.path);
    EXPECT_EQ(gguf.tensor("near").data.size(), near_bytes);
    const MatrixView near = gguf.tensor("near").matrix();
    float value = 0;
    decode_row(&value, near, near.n_rows - 1, near.n_cols - 1, near.n_cols);
    EXPECT_EQ(value, 3.5f);
    float values[2];
    decode_row(values, gguf.tensor("far").matrix(), 0, 0, 2);
    EXPECT_EQ(values[0], 1.25f);
    EXPECT_EQ(values[1], -2.0f);
  }  // a file must not shrink while it is mapped

  // One byte short: the far tensor does not fit any more.
  std::filesystem::resize_file(file.path, data_start + near_bytes + 7);
  EXPECT_THAT(error_of([&] { Gguf::open(file.path); }), HasSubstr("truncated: tensor 'far' takes 8 bytes"));
}

TEST(Gguf, RealModelsAreReadAndWrittenBackByteForByte) {
  const std::string folder = LORA_SHARED_DIR "/models/";
  if (!is_directory(folder)) GTEST_SKIP() << folder << " is absent";
  for (const char* name : {"tiny-q8_0.gguf", "tiny-q4_k_m.gguf", "tiny-f32.gguf"}) {
    const Gguf gguf = Gguf::open(folder + name);
    EXPECT_EQ(gguf.get_string("general.architecture"), "llama");
    EXPECT_EQ(gguf.get_int("llama.embedding_length"), 256);
    EXPECT_EQ(gguf.get_strings("tokenizer.ggml.tokens")->size(), 4096u);
    EXPECT_EQ(gguf.get_floats("tokenizer.ggml.scores")->size(), 4096u);
    EXPECT_EQ(gguf.tensor("token_embd.weight").shape(), "256 x 4096");
    EXPECT_EQ(gguf.tensors().size(), 57u);

    GgufWriter writer;
    for (const auto& [key, value] : gguf.values()) writer.set(key, value);
    for (const GgufTensor& t : gguf.tensors())
      writer.add_tensor(t.name, t.type, {t.ne, t.ne + t.n_dims}, t.data);
    const ScratchFile copy(name);
    writer.write(copy.path);
    EXPECT_TRUE(MappedFile(folder + name).text() == MappedFile(copy.path).text()) << name;
  }
}

// Tensors given in pieces, in any order, make the file that GgufWriter::write makes.
TEST(GgufOutput, PiecesInAnyOrderMakeTheSameFile) {
  const std::vector<float> a = {1, 2, 3, 4, 5, 6}, b = {7};
  GgufWriter whole, declared;
  for (GgufWriter* writer : {&whole, &declared}) writer->set_string("key", "value");
  whole.add_tensor("a", Type::F32, {3, 2}, std::as_bytes(std::span(a)));
  whole.add_tensor("b", Type::F32, {1}, std::as_bytes(std::span(b)));
  declared.declare_tensor("a", Type::F32, {3, 2});
  declared.declare_tensor("b", Type::F32, {1});
  const test::ScratchFile expected("whole.gguf"), found("pieces.gguf");
  whole.write(expected.path);
  {
    GgufOutput output(declared, found.path);
    EXPECT_THROW(output.write(1, 32, std::as_bytes(std::span(b))), Error) << "beyond its place";
    output.write(1, 0, std::as_bytes(std::span(b)));
    output.write(0, 12, std::as_bytes(std::span(a)).subspan(12));
    output.write(0, 0, std::as_bytes(std::span(a)).first(12));
    EXPECT_FALSE(file_exists(found.path));
    output.commit();
  }
  EXPECT_EQ(found.content(), expected.content());
  const test::ScratchFile abandoned("abandoned.gguf");
  { GgufOutput output(declared, abandoned.path); }
  EXPECT_FALSE(file_exists(abandoned.path));
  EXPECT_FALSE(leaves_something(abandoned.path));
}

}  // namespace gguf_test
}  // namespace lora
