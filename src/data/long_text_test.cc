// A training text of 200 MB: as fast and small as docs/tokenizing.md says, and the tokens of the simple way.
#include <gtest/gtest.h>

#include <ctime>
#include <fstream>

#include "base/machine.h"
#include "base/random.h"
#include "data/data_test_util.h"

namespace lora {
namespace long_text_test {

constexpr int64_t kBytes = 200'000'000;
constexpr double kProcessorSeconds = 60;         // half a minute of two threads
constexpr uint64_t kResidentBytes = 1000 << 20;  // the text's pages included

#if !defined(NDEBUG) || LORA_INSTRUMENTED
constexpr bool kIsTimed = false;  // only a release build is held to a speed
#else
constexpr bool kIsTimed = true;
#endif

// Words of the bundled vocabulary, few of them often and many seldom, numbers, and a line end now and then.
void write_long_text(const std::string& path) {
  std::ofstream out(path, std::ios::binary);
  std::string part;
  for (uint64_t i = 0, written = 0; written < kBytes; ++i) {
    const float u = random_uniform(1, Purpose::test, 0, i);
    const Token word = Token(float(tiny_tokenizer().n_vocab() - 300) * u * u * u) + 300;
    part.assign(i % 3 == 0, ' ');
    part += tiny_tokenizer().decode(word);
    if (i % 50 == 0) part += std::to_string(i);
    if (i % 17 == 0) part += '\n';
    if (i % 300 == 0) part += "<s>";
    out << part;
    written += part.size();
  }
}

TEST(LongText, OfTwoHundredMegabytes) {
  const ScratchFile file("long.txt");
  write_long_text(file.path);
  ThreadPool pool(2);
  TextOptions windows;
  windows.n_ctx = 1;
  TextOptions cut = windows;
  cut.sample_start = "<s>";

  for (const TextOptions& options : {cut, windows}) {
    const std::clock_t start = std::clock();
    const Dataset dataset({file.path}, tiny_tokenizer(), options, pool);
    const double seconds = double(std::clock() - start) / CLOCKS_PER_SEC;
    if (kIsTimed) {
      EXPECT_LT(seconds, kProcessorSeconds);
      EXPECT_LT(resident_bytes(), kResidentBytes);
    }
    if (!options.sample_start.empty()) {
      EXPECT_GT(dataset.n_samples(), 100'000);
      continue;
    }
    const MappedFile text(file.path);
    const Tokens expected = tiny_tokenizer().encode(text.text());
    ASSERT_EQ(dataset.n_samples(), int64_t(expected.size()));
    Tokens inputs, targets;
    for (size_t i = 0; i < expected.size(); ++i) {
      dataset.sample(int64_t(i), inputs, targets);
      ASSERT_EQ(targets[0], expected[i]) << "token " << i;
    }
  }
}

}  // namespace long_text_test
}  // namespace lora
