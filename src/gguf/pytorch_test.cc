// Files of torch.save: what is read, and what is refused with a clear word.
#include "gguf/pytorch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gguf/test_pytorch.h"

namespace lora {
namespace pytorch_test {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;

std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::vector<float> values_of(const PytorchFile& file, size_t i) {
  std::vector<std::byte> bytes;
  return file.read(file.tensors().at(i), bytes).to_f32();
}

// A file with this pickle and one storage of six numbers.
struct File {
  ScratchFile file{"model.bin"};
  File(const PickleBytes& pickle, const ZipEntries& more = {}, int method = ZIP_CM_STORE) {
    ZipEntries entries = {{"m/data.pkl", pickle.bytes.data}, {"m/data/0", floats({0, 1, 2, 3, 4, 5})}};
    entries.insert(entries.end(), more.begin(), more.end());
    write_zip(file.path, entries, method);
  }
  PytorchFile open() const { return PytorchFile::open(file.path); }
  std::string error() const {
    return error_of([&] {
      const PytorchFile opened = open();
      std::vector<std::byte> bytes;
      for (const PytorchTensor& t : opened.tensors()) opened.read(t, bytes);
    });
  }
};

PickleBytes one_tensor(int64_t offset, const std::vector<int64_t>& shape, const std::vector<int64_t>& stride,
                       std::string_view key = "0") {
  PickleBytes pickle;
  pickle.op("}(").text("w").tensor("FloatStorage", key, 6, offset, shape, stride).op("u.");
  return pickle;
}

TEST(Pytorch, TensorsOfAStateDict) {
  const ScratchFile file("model.bin");
  write_pytorch(file.path, {{"a", "FloatStorage", {2, 3}, floats({1, 2, 3, 4, 5, 6})},
                            {"b", "BFloat16Storage", {2}, std::string("\x80\x3f\x00\x40", 4)},
                            {"empty", "FloatStorage", {0, 3}, ""}});
  const PytorchFile opened = PytorchFile::open(file.path);
  ASSERT_EQ(opened.tensors().size(), 3u);
  EXPECT_EQ(opened.tensors()[0].name, "a");
  EXPECT_THAT(opened.tensors()[0].shape, ElementsAre(2, 3));
  EXPECT_THAT(values_of(opened, 0), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(opened.tensors()[1].dtype, "BF16");
  EXPECT_THAT(values_of(opened, 1), ElementsAre(1, 2));
  EXPECT_TRUE(values_of(opened, 2).empty());
}

TEST(Pytorch, ViewsOfASharedStorage) {
  EXPECT_THAT(values_of(File(one_tensor(2, {2, 2}, {2, 1})).open(), 0), ElementsAre(2, 3, 4, 5));
  EXPECT_THAT(values_of(File(one_tensor(0, {3, 2}, {1, 3})).open(), 0), ElementsAre(0, 3, 1, 4, 2, 5))
      << "a transposed matrix";
}

TEST(Pytorch, ParametersAndOrderedDictsWithMetadata) {
  PickleBytes pickle;
  pickle.global("collections", "OrderedDict")
      .op(")R(")
      .text("w")
      .global("torch._utils", "_rebuild_parameter")
      .op("(");
  pickle.tensor("FloatStorage", "0", 6, 0, {6}, {1})
      .op("\x88")
      .global("collections", "OrderedDict")
      .op(")RtR");
  pickle.op("u}").text("_metadata").op("Ns").op("b.");
  EXPECT_THAT(values_of(File(pickle).open(), 0), ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(Pytorch, EightBitFloatsOfNewVersions) {
  PickleBytes pickle;
  pickle.op("}(").text("w").global("torch._utils", "_rebuild_tensor_v3").op("((").text("storage");
  pickle.global("torch.storage", "UntypedStorage").text("0").text("cpu").integer(24).op("tQ").integer(0);
  pickle.sizes({24}).sizes({1}).op("\x89").global("collections", "OrderedDict").op(")R");
  pickle.global("torch", "float8_e4m3fn").op("tRu.");
  EXPECT_EQ(File(pickle).open().tensors().at(0).dtype, "F8_E4M3");
}

TEST(PytorchRefuses, CallsOfFunctions) {
  PickleBytes pickle;
  pickle.global("posix", "system").op("(").text("touch /tmp/pwned").op("tR.");
  EXPECT_THAT(File(pickle).error(), HasSubstr("asks for posix.system"));
  PickleBytes stack_global;
  stack_global.text("builtins").text("eval").op("\x93(").text("1").op("tR.");
  EXPECT_THAT(File(stack_global).error(), HasSubstr("asks for builtins.eval"));
  PickleBytes instance;
  instance.op("(ios\nsystem\n.");
  EXPECT_THAT(File(instance).error(), HasSubstr("opcode 0x69"));
}

TEST(PytorchRefuses, MalformedPickles) {
  const auto error = [](std::string_view opcodes) { return File(PickleBytes().op(opcodes)).error(); };
  EXPECT_THAT(error("}"), HasSubstr("a value needs "));
  EXPECT_THAT(error("."), HasSubstr("empty stack"));
  EXPECT_THAT(error("}(.."), HasSubstr("empty stack"));
  EXPECT_THAT(error("u."), HasSubstr("no mark"));
  EXPECT_THAT(error("}(Nu."), HasSubstr("without a value"));
  EXPECT_THAT(error("h\x05."), HasSubstr("not remembered"));
  EXPECT_THAT(error("N)R."), HasSubstr("no function"));
  EXPECT_THAT(error("Na."), HasSubstr("empty stack"));
  EXPECT_THAT(error("NNa."), HasSubstr("no container"));
  EXPECT_THAT(error("N."), HasSubstr("no dictionary of tensors"));
  EXPECT_THAT(error("}(NNu."), HasSubstr("no dictionary of tensors"));
  EXPECT_THAT(error("X\xff\xff\xff\xff."), HasSubstr("a value needs "));
  EXPECT_THAT(File(PickleBytes().op("}(").text("w").op("Nu.")).error(),
              HasSubstr("tensor 'w': not a tensor"));
}

// A pickle of 130 KB: one list of pairs, remembered, and made a dictionary of again and again.
TEST(PytorchRefuses, ListsThatGrowByBeingShared) {
  const auto dictionaries = [](int n_pairs, int n_times) {
    PickleBytes pickle;
    pickle.global("collections", "OrderedDict").op("q\x01").integer(1).integer(1).op("\x86q\x02]q\x03(");
    for (int i = 0; i < n_pairs; ++i) pickle.op("h\x02");
    pickle.op("e\x85q\x04(");
    for (int i = 0; i < n_times; ++i) pickle.op("h\x01h\x04R");
    return pickle.op("1}(").text("w").tensor("FloatStorage", "0", 6, 0, {6}, {1}).op("u.");
  };
  EXPECT_THAT(File(dictionaries(30000, 14000)).error(), HasSubstr("more of a list than its bytes can hold"));
  EXPECT_EQ(File(dictionaries(30000, 1)).error(), "") << "as Python 2 writes its dictionaries";
}

TEST(PytorchRefuses, ShapesThatAreLongLists) {
  EXPECT_THAT(File(one_tensor(0, std::vector<int64_t>(100000, 1), {1})).error(),
              HasSubstr("tensor 'w': has too many dimensions"));
}

TEST(PytorchRefuses, KeysOfStoragesThatAreTexts) {
  EXPECT_THAT(File(one_tensor(0, {6}, {1}, std::string(50000, '0'))).error(), HasSubstr("'w': malformed"));
}

TEST(PytorchRefuses, OtherFilesByName) {
  const ScratchFile pointer("pointer.bin", "version https://git-lfs.github.com/spec/v1\n");
  EXPECT_THAT(error_of([&] { PytorchFile::open(pointer.path); }), HasSubstr("git-lfs"));
  const ScratchFile page("page.bin", "<!doctype html>");
  EXPECT_THAT(error_of([&] { PytorchFile::open(page.path); }), HasSubstr("web page"));
}

TEST(PytorchRefuses, TensorsThatReachBeyondTheirStorage) {
  EXPECT_THAT(File(one_tensor(1, {6}, {1})).error(),
              HasSubstr("tensor 'w': reaches beyond its storage of 6"));
  EXPECT_THAT(File(one_tensor(0, {2, 2}, {4, 3})).error(), HasSubstr("reaches beyond"));
  EXPECT_THAT(File(one_tensor(0, {1000000, 1000}, {0, 0})).error(), HasSubstr("reaches beyond"));
  EXPECT_THAT(File(one_tensor(-1, {2}, {1})).error(), HasSubstr("reaches beyond"));
  EXPECT_THAT(File(one_tensor(0, {-2}, {1})).error(), HasSubstr("negative"));
  EXPECT_THAT(File(one_tensor(0, {6}, {1}, "7")).error(),
              HasSubstr("storage m/data/7 is not in the archive"));
}

TEST(PytorchRefuses, ZipBombsAndOtherArchives) {
  EXPECT_THAT(
      File(one_tensor(0, {6}, {1}), {{"m/zeros", std::string(1 << 20, '\0')}}, ZIP_CM_DEFLATE).error(),
      HasSubstr("compressed, which torch.save never does"));
  // The central directory says that an entry is larger than the whole file.
  const File big(one_tensor(0, {6}, {1}));
  std::string bytes = big.file.content();
  const size_t directory = bytes.rfind("PK\x01\x02");
  const uint32_t lie = 1u << 30;
  bytes.replace(directory + 20, 4, reinterpret_cast<const char*>(&lie), 4);
  bytes.replace(directory + 24, 4, reinterpret_cast<const char*>(&lie), 4);
  const ScratchFile lying("lying.bin", bytes);
  EXPECT_NE(error_of([&] { PytorchFile::open(lying.path); }), "");
  const ScratchFile old("old.bin", std::string("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.", 15));
  EXPECT_THAT(error_of([&] { PytorchFile::open(old.path); }), HasSubstr("PyTorch before 1.6"));
  const ScratchFile cut("cut.bin", big.file.content().substr(0, 100));
  EXPECT_THAT(error_of([&] { PytorchFile::open(cut.path); }), HasSubstr("not a readable zip archive"));
  const ScratchFile other("other.bin");
  write_zip(other.path, {{"a", "b"}});
  EXPECT_THAT(error_of([&] { PytorchFile::open(other.path); }), HasSubstr("no data.pkl"));
}

TEST(PytorchRefuses, DamagedBytesAndForeignByteOrder) {
  const File good(one_tensor(0, {6}, {1}));
  std::string bytes = good.file.content();
  bytes[bytes.find(floats({3, 4})) + 3] ^= 1;
  const ScratchFile damaged("damaged.bin", bytes);
  EXPECT_THAT(error_of([&] { values_of(PytorchFile::open(damaged.path), 0); }),
              HasSubstr("m/data/0: cannot be read"));
  EXPECT_THAT(File(one_tensor(0, {6}, {1}), {{"m/byteorder", "big"}}).error(),
              HasSubstr("byte order is 'big'"));
}

}  // namespace pytorch_test
}  // namespace lora
