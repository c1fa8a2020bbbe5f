#include "train/sample_text.h"

#include <algorithm>

#include "base/error.h"
#include "generate/continuation.h"

namespace lora {
namespace {

constexpr int64_t kMostOfText = 32;  // tokens of a prompt that is trained on itself
constexpr int64_t kMostOfPrompt = 256;

DecoderOptions decoder_options(const Setup& setup) {
  const auto n_prompt = int64_t(setup.sample_prompt.size());
  const bool exact = setup.arithmetic.floats == GemmInput::f32 && !setup.arithmetic.int8;
  return {.n_ctx = n_prompt + kSampleTokens,
          .n_batch = std::min(n_prompt, kPromptBatch),
          .precision = exact ? Precision::f32 : Precision::automatic};
}

// Of the first held-out samples the one with the longest prompt of those that are not too long, so that it is
// no lone word; where all are, the shortest.
std::vector<Token> beginning_of_sample(const Setup& setup) {
  constexpr size_t kLookAt = 16;
  const auto is_better = [](int64_t n, int64_t than) {
    return than == 0 || (n > kMostOfPrompt || than > kMostOfPrompt ? n < than : n > than);
  };
  std::vector<Token> inputs, targets, prompt;
  const std::vector<int64_t>& held_out = setup.held_out;
  const Dataset& data = setup.held_out_data();
  for (size_t k = 0; k < std::max<size_t>(1, std::min(kLookAt, held_out.size())); ++k) {
    data.sample(held_out.empty() ? 0 : held_out[k], inputs, targets);
    const auto n = int64_t(inputs.size());
    // Up to a reply; of several to the last that is not too far, since what is asked stands before it.
    int64_t n_prompt = 0;
    for (int64_t i = 1; i < n && (n_prompt == 0 || i < kMostOfPrompt); ++i) {
      if (targets[size_t(i)] != kIgnore && targets[size_t(i - 1)] == kIgnore) n_prompt = i + 1;
    }
    if (n_prompt == 0) n_prompt = std::clamp<int64_t>(n / 3, 1, kMostOfText);
    if (is_better(n_prompt, int64_t(prompt.size()))) prompt.assign(inputs.begin(), inputs.begin() + n_prompt);
  }
  return prompt;
}

}  // namespace

std::vector<Token> sample_prompt(const Setup& setup) {
  const std::optional<std::string>& asked = setup.options.sample_prompt;
  if (!asked) return {};
  std::vector<Token> prompt =
      asked->empty() ? beginning_of_sample(setup) : setup.tokenizer.encode_with_bos(*asked, true);
  const int64_t most = std::max(setup.model.config.n_ctx_train, setup.options.n_ctx);
  if (int64_t(prompt.size()) > most)
    fail("--sample-prompt: {} tokens are more than the model's context of {}", prompt.size(), most);
  return prompt;
}

int64_t sample_bytes(const Setup& setup) {
  if (setup.sample_prompt.empty()) return 0;
  return int64_t(Decoder::memory_bytes(setup.model, decoder_options(setup), setup.pool.size()));
}

std::optional<std::string> continue_sample(Setup& setup, const std::function<bool()>& give_up) {
  Decoder decoder(setup.model, decoder_options(setup), setup.pool);
  Sampler sampler{{.temp = 0}};
  std::string text;
  const Continuation done = continue_text({setup.model, setup.tokenizer, decoder, sampler},
                                          setup.sample_prompt, {.n_predict = kSampleTokens},
                                          {[&](const std::string& piece) { text += piece; }, give_up});
  if (done.end == GenerateEnd::stopped) return std::nullopt;
  return text;
}

}  // namespace lora
