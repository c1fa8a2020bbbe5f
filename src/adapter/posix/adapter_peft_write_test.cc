// A PEFT folder on a disk that is full, as limits of POSIX play it.
#include <sys/resource.h>

#include <csignal>

#include "adapter/adapter.h"
#include "adapter/adapter_test_util.h"

namespace lora {
namespace posix_adapter_peft_write_test {

using testing::HasSubstr;

// A limit on the size of files stands for a full disk: the weights fit, adapter_config.json does not.
TEST(PosixWritePeft, NeitherFileAppearsIfOneDoesNotFit) {
  const ScratchFolder scratch;
  Adapter adapter;
  adapter.architecture = "llama";
  adapter.pairs = {pair_of("blk.0.ffn_up.weight", 1, 1, 1)};
  write_adapter_peft(adapter, {"llama", 4, 2}, 1, scratch.path());
  const size_t weights = std::filesystem::file_size(scratch.file("adapter_model.safetensors"));
  ASSERT_LT(weights, std::filesystem::file_size(scratch.file("adapter_config.json")));
  std::filesystem::remove(scratch.file("adapter_model.safetensors"));
  std::filesystem::remove(scratch.file("adapter_config.json"));

  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {weights, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string error = error_of([&] {
    write_adapter_peft(adapter, {"llama", 4, 2}, 1, scratch.path());
  });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(error, HasSubstr("adapter_config.json"));
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

}  // namespace posix_adapter_peft_write_test
}  // namespace lora
