#include "generate/generate.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "generate/sampler.h"
#include "generate/session.h"
#include "generate/stop_matcher.h"
#include "model/decoder.h"

namespace lora {
namespace {

constexpr int64_t kPromptBatch = 512;  // prompt tokens that go through the layers at once

using Clock = std::chrono::steady_clock;

double per_second(int64_t n, Clock::duration time) {
  const double seconds = std::chrono::duration<double>(time).count();
  return n > 0 && seconds > 0 ? double(n) / seconds : 0;
}

// The bytes that a token adds to the text. The first token of a text loses the leading space that
// the tokenizer put before it, which decode(tokens) knows how to undo.
std::string text_of(const Tokenizer& tokenizer, Token token, bool first) {
  return first ? tokenizer.decode(std::vector<Token>{token}) : tokenizer.decode(token);
}

}  // namespace

GenerateResult generate(const GenerateOptions& options, const GenerateEvents& events) {
  Session session(options);
  const Tokenizer& tokenizer = session.tokenizer;
  const int64_t n_ctx =
      options.n_ctx > 0 ? options.n_ctx : std::min(session.model.config.n_ctx_train, kMaxDefaultContext);
  warn_about_context(session, n_ctx, events.say);

  std::vector<Token> prompt = tokenizer.encode_with_bos(options.prompt, options.parse_special);
  if (prompt.empty()) fail("prompt: empty, and the model has no begin-of-sequence token to start from");
  if (int64_t(prompt.size()) >= n_ctx) {
    fail("prompt: {} tokens do not fit a context of {} (--ctx-size)", prompt.size(), n_ctx);
  }
  GenerateResult result;
  result.seed = options.seed < 0 ? entropy_seed() : uint64_t(options.seed);
  result.prompt_tokens = int64_t(prompt.size());
  Sampler sampler{options.sampler, result.seed};
  for (Token token : prompt) accept(sampler, token);
  StopMatcher matcher(options.stop);
  const auto emit = [&](const std::string& text) {
    if (events.on_text && !text.empty()) events.on_text(text);
  };
  expect_memory(fmt::format("the keys and values of {} tokens", n_ctx),
                Decoder::cache_bytes(session.model, n_ctx));
  Decoder decoder(session.model, n_ctx, kPromptBatch, session.input, session.pool);
  if (options.echo) emit(options.prompt);
  const Clock::time_point start = Clock::now();
  std::span<const float> logits = decoder.append(prompt);
  const Clock::time_point prompt_done = Clock::now();
  result.prompt_tok_per_s = per_second(result.prompt_tokens, prompt_done - start);

  std::vector<float> allowed;
  result.end = GenerateEnd::n_predict;
  while (options.n_predict < 0 || result.generated_tokens < options.n_predict) {
    if (options.ignore_eos) {
      allowed.assign(logits.begin(), logits.end());
      for (Token token = 0; token < int32_t(allowed.size()); ++token) {
        if (tokenizer.is_end(token)) allowed[size_t(token)] = -std::numeric_limits<float>::infinity();
      }
      logits = allowed;
    }
    const Token token = sample(sampler, logits);
    accept(sampler, token);
    ++result.generated_tokens;
    if (tokenizer.is_end(token)) {
      result.end = GenerateEnd::end_token;
      break;
    }
    const bool first = options.prompt.empty() && result.generated_tokens == 1;
    emit(matcher.push(text_of(tokenizer, token, first)));
    if (matcher.stopped()) {
      result.end = GenerateEnd::stop;
      break;
    }
    if (events.should_stop && events.should_stop()) {
      result.end = GenerateEnd::stopped;
      break;
    }
    if (decoder.n_past() == n_ctx) {
      result.end = GenerateEnd::context;
      break;
    }
    if (options.n_predict < 0 || result.generated_tokens < options.n_predict)
      logits = decoder.append({&token, 1});
  }
  emit(matcher.finish());
  result.generate_tok_per_s = per_second(result.generated_tokens, Clock::now() - prompt_done);
  return result;
}

}  // namespace lora
