// A model larger than 32-bit offsets can say, most of it a hole on disk.
#include "cli_test.h"

namespace lora::test {
namespace sparse_test {

using Args = std::vector<std::string>;

// The bundled model with 4 GiB of zeros before its last tensor, of one that old files have and nothing reads.
void write_sparse_model(const std::string& path) {
  const Gguf gguf = Gguf::open(kBundledModel);
  GgufWriter writer;
  for (const auto& [key, value] : gguf.values()) writer.set(key, value);
  const auto declare = [&](const GgufTensor& t) {
    writer.declare_tensor(t.name, t.type, {t.ne, t.ne + t.n_dims});
  };
  const auto& tensors = gguf.tensors();
  const size_t last = tensors.size() - 1;
  for (size_t i = 0; i < last; ++i) declare(tensors[i]);
  writer.declare_tensor("blk.0.attn_rot_embd.weight", Type::F32, {1 << 20, 1 << 10});
  declare(tensors[last]);
  GgufOutput output(writer, path);
  for (size_t i = 0; i <= last; ++i) output.write(i < last ? i : i + 1, 0, tensors[i].data);
  output.commit();
}

TEST(Sparse, ATensorBeyondFourGiBReadsAsAnyOther) {
  const Folder folder;
  write_sparse_model(folder.at("sparse.gguf"));
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
