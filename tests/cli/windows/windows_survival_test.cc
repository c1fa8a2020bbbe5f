// Programs that TerminateProcess() ends while they replace a file: it is the old one or the new one, whole.
// (survival_test.cc kills training runs the same way.)
#include <chrono>
#include <cstdlib>
#include <random>

#include "cli_test.h"

namespace lora::test {
namespace windows_survival_test {

using Args = std::vector<std::string>;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class WindowsSurvival : public testing::Test {
 protected:
  Folder folder;
  std::mt19937 random{20231130};

  void SetUp() override {
    folder.write("text.txt", ship_sentences());
    ASSERT_EQ(folder.lora(kFinetune + Args{"--checkpoint-out", "", "--lora-out", "l.gguf"}).status, 0);
  }

  double between(double begin, double end) { return std::uniform_real_distribution(begin, end)(random); }
  bool has_temporary() const {
    for (const std::string& name : folder.names()) {
      if (name.ends_with(".tmp")) return true;
    }
    return false;
  }

  // Two commands that write other bytes to the same file.
  struct Writers {
    Args command[2];
    std::string bytes[2];
    double seconds[2];
  };
  Writers measured(const Args& a, const Args& b) const {
    Writers writers{{a, b}, {}, {}};
    for (int which : {0, 1}) {
      const auto start = Clock::now();
      const RunResult run = folder.lora(writers.command[which]);
      EXPECT_EQ(run.status, 0) << run.err;
      writers.seconds[which] = seconds_since(start);
      writers.bytes[which] = folder.read("o.gguf");
    }
    EXPECT_NE(writers.bytes[0], writers.bytes[1]);
    return writers;
  }

  // At any moment of its run, or soon after the new file has begun to be there under a name of its own.
  RunOptions killed_at(bool in_a_save, double run_seconds) {
    RunOptions options;
    if (!in_a_save) {
      options.kill_after_s = between(0, 1.1 * run_seconds);
      return options;
    }
    const auto begun = std::make_shared<Clock::time_point>();
    const double later = between(0, 0.1 * run_seconds);
    options.signal_on = [=, this](std::string_view) {
      if (*begun == Clock::time_point() && has_temporary()) *begun = Clock::now();
      return *begun != Clock::time_point() && seconds_since(*begun) >= later ? kKill : 0;
    };
    return options;
  }
};

// LORA_KILLS: how many programs are killed (10).
TEST_F(WindowsSurvival, AFileThatIsReplacedIsTheOldOneOrTheNewOne) {
  const char* const kills = std::getenv("LORA_KILLS");
  const int n_kills = kills ? std::atoi(kills) : 10;
  const auto quantize = [](const char* type) {
    return Args{"quantize", "--allow-requantize", "model.gguf", "o.gguf", type, "1"};
  };
  const auto merge = [](const char* scale) {
    return Args{"export-lora", "-m", "model.gguf", "--lora-scaled", "l.gguf", scale, "-o", "o.gguf"};
  };
  std::vector<Writers> pairs;
  pairs.push_back(measured(quantize("q4_0"), quantize("q5_0")));
  pairs.push_back(measured(merge("1"), merge("100")));
  const std::set<std::string> names = folder.names();

  int n_in_a_save = 0, n_done = 0, n_replaced = 0;
  for (int i = 0; i < n_kills; ++i) {
    const Writers& writers = pairs[size_t(i / 2) % pairs.size()];
    const std::string before = folder.read("o.gguf");
    const int which = before == writers.bytes[0] ? 1 : 0;
    const RunResult run = folder.lora(writers.command[which], killed_at(i % 2 == 1, writers.seconds[which]));
    const std::string after = folder.read("o.gguf");
    ASSERT_TRUE(run.status == 0 || run.status == 128 + kKill) << run.status << run.err;
    ASSERT_TRUE(after == writers.bytes[which] || (run.status != 0 && after == before))
        << i << ": " << after.size() << " bytes, " << before.size() << " before";
    n_done += run.status == 0;
    n_replaced += run.status != 0 && after != before;
    n_in_a_save += has_temporary();
  }
  std::printf("%d kills, %d of them while a file was written, %d after it had been replaced, %d too late\n",
              n_kills, n_in_a_save, n_replaced, n_done);
  EXPECT_LT(n_done, n_kills);

  const RunResult last = folder.lora(pairs[0].command[0]);
  EXPECT_EQ(last.status, 0) << last.err;
  EXPECT_TRUE(folder.read("o.gguf") == pairs[0].bytes[0]);
  EXPECT_EQ(folder.names(), names) << "what the killed have left is gone";
}

}  // namespace windows_survival_test
}  // namespace lora::test
