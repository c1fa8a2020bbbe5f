// Models in several files: NAME-00001-of-0000N.gguf.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "gguf/gguf.h"
#include "gguf/test_files.h"

namespace lora {
namespace gguf_split_test {

using test::error_of;
using test::ScratchFile;
using testing::HasSubstr;

struct Part {
  std::optional<uint32_t> no, count = 3, tensors = 3;  // the split.* keys; nullopt leaves one out
  std::string tensor;                                  // one tensor of this name, which holds `no`
};

// Writes part `number` (from 1) of three under NAME; the caller keeps the file alive.
std::unique_ptr<ScratchFile> write_part(const std::string& name, int number, const Part& part) {
  auto file = std::make_unique<ScratchFile>(fmt::format("{}-{:05}-of-00003.gguf", name, number));
  GgufWriter writer;
  writer.set_u32("number", uint32_t(number));
  if (part.no) writer.set_u32("split.no", *part.no);
  if (part.count) writer.set_u32("split.count", *part.count);
  if (part.tensors) writer.set("split.tensors.count", {GgufValueType::i32, {}, int64_t{*part.tensors}});
  const float value = float(number);
  writer.add_tensor(part.tensor, Type::F32, {1}, std::as_bytes(std::span(&value, 1)));
  writer.write(file->path);
  return file;
}

struct SplitModel {
  std::vector<std::unique_ptr<ScratchFile>> files;

  explicit SplitModel(const std::string& name, Part a = {0, 3, 3, "a"}, Part b = {1, 3, 3, "b"},
                      Part c = {2, 3, 3, "c"}) {
    files.push_back(write_part(name, 1, a));
    files.push_back(write_part(name, 2, b));
    files.push_back(write_part(name, 3, c));
  }
  std::string error() const {
    return error_of([&] { Gguf::open(files[0]->path); });
  }
};

TEST(SplitGguf, AnyPartOpensTheWholeModel) {
  const SplitModel model("any");
  for (const auto& file : model.files) {
    const Gguf gguf = Gguf::open(file->path);
    EXPECT_EQ(gguf.path(), file->path);
    EXPECT_EQ(gguf.get_int("number"), 1) << "keys come from the first part";
    ASSERT_EQ(gguf.tensors().size(), 3u);
    const char* const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(gguf.tensors()[size_t(i)].name, names[i]);
      float value = 0;
      decode_row(&value, gguf.tensor(names[i]).matrix(), 0, 0, 1);
      EXPECT_EQ(value, float(i + 1));
    }
    size_t bytes = 0;
    for (const auto& part : model.files) bytes += part->content().size();
    EXPECT_EQ(gguf.file_bytes(), bytes);
  }
}

TEST(SplitGguf, AMissingPartIsNamed) {
  SplitModel model("missing");
  const std::string absent = model.files[1]->path;
  model.files[1].reset();
  EXPECT_THAT(model.error(), HasSubstr(absent + ": cannot open"));
}

TEST(SplitGguf, ARenamedPartIsRefused) {
  const SplitModel model("renamed");
  for (const char* name : {"renamed.gguf", "renamed-00001-of-00002.gguf", "renamed-1-of-3.gguf"}) {
    const ScratchFile renamed(name, model.files[0]->content());
    EXPECT_THAT(error_of([&] { Gguf::open(renamed.path); }),
                HasSubstr("must be named NAME-00001-of-00003.gguf"));
  }
}

TEST(SplitGguf, PartsInTheWrongPlaceAreRefused) {
  EXPECT_THAT(SplitModel("swapped", {0, 3, 3, "a"}, {2, 3, 3, "c"}, {1, 3, 3, "b"}).error(),
              HasSubstr("swapped-00002-of-00003.gguf: key 'split.no' is 2, expected 1"));
  EXPECT_THAT(SplitModel("late", {1, 3, 3, "a"}).error(),
              HasSubstr("late-00001-of-00003.gguf: key 'split.no' is 1, expected 0"));
}

TEST(SplitGguf, KeysThatDisagreeAreRefused) {
  EXPECT_THAT(SplitModel("count", {0, 3, 3, "a"}, {1, 4, 3, "b"}).error(),
              HasSubstr("count-00002-of-00003.gguf: key 'split.count' is 4, expected 3"));
  EXPECT_THAT(SplitModel("nokey", {0, 3, 3, "a"}, {std::nullopt, 3, 3, "b"}).error(),
              HasSubstr("nokey-00002-of-00003.gguf: key 'split.no' is missing"));
  EXPECT_THAT(SplitModel("tensors", {0, 3, 3, "a"}, {1, 3, 5, "b"}).error(),
              HasSubstr("key 'split.tensors.count' is 5, expected 3"));
  EXPECT_THAT(SplitModel("total", {0, 3, 4, "a"}, {1, 3, 4, "b"}, {2, 3, 4, "c"}).error(),
              HasSubstr("the 3 parts hold 3 tensors, expected 4"));
}

TEST(SplitGguf, ATensorInTwoPartsIsRefused) {
  EXPECT_THAT(SplitModel("twice", {0, 3, 3, "a"}, {1, 3, 3, "a"}).error(),
              HasSubstr("tensor 'a' occurs twice"));
}

TEST(SplitGguf, AWholeModelMayHaveANameLikeAPart) {
  const auto file = write_part("whole", 1, {std::nullopt, std::nullopt, std::nullopt, "a"});
  EXPECT_EQ(Gguf::open(file->path).tensors().size(), 1u);
}

}  // namespace gguf_split_test
}  // namespace lora
