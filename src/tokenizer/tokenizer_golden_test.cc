// llama.cpp's own tokenizer cases: texts separated by a line, and a line of ids for each.
#include <gtest/gtest.h>

#include <sstream>

#include "tokenizer/test_vocabularies.h"

namespace lora {
namespace tokenizer_golden_test {

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, AgreesWithLlamaCpp) {
  const std::string path = std::string(LORA_SHARED_DIR "/vocab/ggml-vocab-") + GetParam() + ".gguf";
  if (!file_exists(path)) GTEST_SKIP() << path << " is not there";
  const Tokenizer tokenizer(Gguf::open(path));
  const MappedFile input(path + ".inp"), output(path + ".out");
  std::istringstream lines{std::string(output.text())};
  const std::string separator = "\n__ggml_vocab_test__\n";
  int n_cases = 0;
  std::string_view rest = input.text();
  for (size_t end; (end = rest.find(separator)) != std::string_view::npos;
       rest.remove_prefix(end + separator.size())) {
    const std::string_view text = rest.substr(0, end);
    std::string line;
    ASSERT_TRUE(std::getline(lines, line));
    std::istringstream numbers(line);
    std::vector<Token> expected;
    for (Token id; numbers >> id;) expected.push_back(id);
    const std::vector<Token> tokens = tokenizer.encode(text);
    EXPECT_EQ(tokens, expected) << text;
    EXPECT_EQ(tokenizer.decode(tokens), text);
    ++n_cases;
  }
  EXPECT_EQ(n_cases, 46);
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, Golden,
                         testing::Values("deepseek-coder", "falcon", "gpt-2", "llama-bpe", "llama-spm",
                                         "phi-3", "qwen2", "starcoder"));

}  // namespace tokenizer_golden_test
}  // namespace lora
