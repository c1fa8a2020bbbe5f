// Ctrl-C at each moment between two changes of files, by a library that is preloaded (kill_at.cc).
#include <map>

#include "cli_test.h"

namespace lora::test {
namespace posix_interrupt_test {

using Args = std::vector<std::string>;

// What was written so far is gone, or is there whole.
TEST(InterruptAnyCommand, LeavesNothingHalfWritten) {
  Folder folder;
  folder.write("text.txt", ship_sentences());
  ASSERT_EQ(
      folder.lora(kFinetune + Args{"--lora-out", "l.gguf", "--checkpoint-out", "", "--metrics", "m"}).status,
      0);
  const std::set<std::string> before = folder.names();
  for (const auto& [command, output] :
       {std::pair<Args, std::string>{{"plot", "m", "-o", "o.svg"}, "o.svg"},
        {{"convert-lora", "l.gguf", "--base", "model.gguf", "--outfile", "o.gguf"}, "o.gguf"},
        {{"convert-lora", "l.gguf", "--base", "model.gguf", "--to-peft", "o"}, "o"},
        {{"quantize", "--allow-requantize", "model.gguf", "o.gguf", "q4_0", "1"}, "o.gguf"},
        {{"export-lora", "-m", "model.gguf", "--lora", "l.gguf", "-o", "o.gguf", "-t", "1"}, "o.gguf"}}) {
    SCOPED_TRACE(testing::PrintToString(command));
    const auto run = [&](int at) {
      return folder.lora(command, {.environment = {{"LD_PRELOAD", KILL_AT},
                                                   {"LORA_KILL_COUNT", folder.at("n")},
                                                   {"LORA_KILL_SIGNAL", std::to_string(kInterrupt)},
                                                   {"LORA_KILL_AT", std::to_string(at)}}});
    };
    const auto contents = [&] {
      std::map<std::string, std::string> files;
      for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path)) {
        const std::string name = entry.path().string().substr(folder.path.size() + 1);
        if (!before.contains(name) && name != "n")
          files[name] = entry.is_directory() ? "" : folder.read(name);
      }
      return files;
    };
    const RunResult whole = run(0);
    ASSERT_EQ(whole.status, 0) << whole.err;
    const auto expected = contents();
    ASSERT_TRUE(expected.contains(output));
    const int n_calls = std::atoi(folder.read("n").c_str());
    ASSERT_GT(n_calls, 3);
    int n_without = 0;
    for (int at = 1; at <= n_calls; at += std::max(1, n_calls / 20)) {
      std::filesystem::remove_all(folder.at(output));
      const RunResult stopped = run(at);
      EXPECT_TRUE(stopped.status == 130 || stopped.status == 0)
          << at << ": " << stopped.status << stopped.err;
      const auto found = contents();
      n_without += found.empty();
      EXPECT_TRUE(found.empty() || found == expected) << at << ": " << testing::PrintToString(folder.names());
    }
    EXPECT_GT(n_without, 0);
    std::filesystem::remove_all(folder.at(output));
  }
}

}  // namespace posix_interrupt_test
}  // namespace lora::test
