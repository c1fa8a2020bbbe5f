// A model larger than 32-bit offsets can say, most of it a hole on disk.
#include <cstring>

#include "cli_test.h"

namespace lora::test {
namespace sparse_test {

using Args = std::vector<std::string>;

// The bundled model with the data of its last tensor moved behind a hole of 4 GiB.
void write_sparse_model(const std::string& path) {
  const std::string model = read_file(kBundledModel);
  const Gguf gguf = Gguf::open(kBundledModel);
  const GgufTensor& last = gguf.tensors().back();
  const uint64_t name_at = model.find(last.name),
                 offset_at = name_at + last.name.size() + 4 + 8 * uint64_t(last.n_dims) + 4;
  uint64_t offset = 0;
  std::memcpy(&offset, model.data() + offset_at, sizeof offset);
  const uint64_t moved = offset + (uint64_t{1} << 32);
  const std::string data(reinterpret_cast<const char*>(last.data.data()), last.data.size());
  const uint64_t data_at = model.size() - data.size();
  ASSERT_EQ(model.substr(data_at), data);  // the last tensor ends the file

  std::string head = model.substr(0, data_at);
  std::memcpy(head.data() + offset_at, &moved, sizeof moved);
  std::ofstream out(path, std::ios::binary);
  out << head;
  out.seekp(std::streamoff(data_at + (uint64_t{1} << 32)));
  out << data;
  ASSERT_TRUE(out.flush());
}

TEST(Sparse, ATensorBeyondFourGiBReadsAsAnyOther) {
  const Folder folder;
  ASSERT_NO_FATAL_FAILURE(write_sparse_model(folder.at("sparse.gguf")));
  ASSERT_GT(std::filesystem::file_size(folder.at("sparse.gguf")), uint64_t{1} << 32);
  EXPECT_EQ(folder.lora({"inspect", "sparse.gguf"}).status, 0);
  const Args eval = {"eval", "-p", "The ship sailed to the north and was not seen again.", "--json", "-m"};
  const RunResult want = folder.lora(eval + Args{"model.gguf"}),
                  got = folder.lora(eval + Args{"sparse.gguf"});
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_NE(want.out, "");
  EXPECT_EQ(got.out, want.out);
}

}  // namespace sparse_test
}  // namespace lora::test
