// What generation loses by rounding activations to 8 bits (kernels/dot, kernels/gemm_int8): the same text,
// token by token and as prompts.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "generate/session.h"
#include "model/decoder.h"

namespace lora {
namespace rounding_test {

constexpr int64_t kTokens = 400;

struct Pass {
  double nll = 0;             // nats per token
  std::vector<float> logits;  // (kTokens, n_vocab)
};

Pass read(Session& session, const std::vector<Token>& tokens, Precision precision) {
  Decoder decoder(session.model, {.n_ctx = kTokens, .n_batch = 1, .precision = precision}, session.pool);
  Pass result;
  for (int64_t t = 0; t < kTokens; ++t) {
    const auto logits = decoder.append({&tokens[size_t(t)], 1});
    result.logits.insert(result.logits.end(), logits.begin(), logits.end());
    double sum = 0;
    for (float l : logits) sum += std::exp(double(l));
    result.nll += (std::log(sum) - double(logits[size_t(tokens[size_t(t) + 1])])) / double(kTokens);
  }
  return result;
}

class Rounding : public testing::TestWithParam<const char*> {};

TEST_P(Rounding, ChangesLittle) {
  const std::string path = GetParam();
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here";
  ModelOptions options;
  options.model = path;
  options.threads = 2;
  Session session(options);
  const MappedFile text(LORA_SOURCE_DIR "/examples/demo/heldout.txt");
  const std::vector<Token> tokens = session.tokenizer.encode_with_bos(std::string(text.text()));
  ASSERT_GT(int64_t(tokens.size()), kTokens);
  const Pass exact = read(session, tokens, Precision::f32),
             rounded = read(session, tokens, Precision::automatic);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < exact.logits.size(); ++i) {
    difference += std::pow(double(rounded.logits[i]) - double(exact.logits[i]), 2);
    norm += std::pow(double(exact.logits[i]), 2);
  }
  difference = std::sqrt(difference / norm);
  const double perplexity = std::exp(exact.nll), change = std::exp(rounded.nll - exact.nll) - 1;
  fmt::print("{}: logits {:.2e}, perplexity {:.3f} {:+.3f}%\n", path.substr(path.rfind('/') + 1), difference,
             perplexity, 100 * change);
  for (int64_t n : {12, 24, 100, 400}) {
    Decoder decoder(session.model, {.n_ctx = kTokens}, session.pool);
    const auto logits = decoder.append({tokens.data(), size_t(n)});
    const float* want = exact.logits.data() + (n - 1) * int64_t(logits.size());
    double off = 0, all = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      off += std::pow(double(logits[i]) - double(want[i]), 2);
      all += std::pow(double(want[i]), 2);
    }
    EXPECT_LT(std::sqrt(off / all), 0.02) << n;
  }
  EXPECT_LT(difference, 0.02);
  EXPECT_LT(std::fabs(change), 0.005);
}

INSTANTIATE_TEST_SUITE_P(, Rounding,
                         testing::Values(LORA_SOURCE_DIR "/models/tiny-q8_0.gguf",
                                         LORA_SHARED_DIR "/models/tiny-q4_k_m.gguf"),
                         [](const auto& param) { return "Model" + std::to_string(param.index); });

}  // namespace rounding_test
}  // namespace lora
