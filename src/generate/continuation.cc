#include "generate/continuation.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/timing.h"
#include "generate/stop_matcher.h"

namespace lora {
namespace {

// The bytes that a token adds to the text. The first token of a text loses the leading space that
// the tokenizer put before it, which decode(tokens) knows how to undo.
std::string text_of(const Tokenizer& tokenizer, Token token, bool first) {
  return first ? tokenizer.decode(std::vector<Token>{token}) : tokenizer.decode(token);
}

bool is_end(const DecodingState& state, const ContinueOptions& options, Token token) {
  return state.tokenizer.is_end(token) ||
         std::ranges::find(options.end_tokens, token) != options.end_tokens.end();
}

Token sample_next(const DecodingState& state, std::span<const float> logits, const ContinueOptions& options) {
  std::vector<float> allowed;
  if (options.ignore_eos) {
    allowed.assign(logits.begin(), logits.end());
    for (Token token = 0; token < int32_t(allowed.size()); ++token) {
      if (is_end(state, options, token)) allowed[size_t(token)] = -std::numeric_limits<float>::infinity();
    }
    logits = allowed;
  }
  try {
    return sample(state.sampler, logits);
  } catch (const Error& e) {
    fail("{}: {}", state.model.gguf.path(), e.what());
  }
}

}  // namespace

Continuation continue_text(const DecodingState& state, std::span<const Token> prompt,
                           const ContinueOptions& options, const ContinueEvents& events) {
  const auto is_stopped = [&] { return events.should_stop && events.should_stop(); };
  const auto emit = [&](const std::string& text) {
    if (events.on_text && !text.empty()) events.on_text(text);
  };
  Continuation result;
  for (Token token : prompt) accept(state.sampler, token);
  Clock::time_point start = Clock::now();
  std::span<const float> logits;
  for (size_t begin = 0; begin < prompt.size(); begin += size_t(kPromptBatch)) {
    if (begin > 0 && is_stopped()) {
      result.end = GenerateEnd::stopped;
      break;
    }
    const auto piece = prompt.subspan(begin, std::min(size_t(kPromptBatch), prompt.size() - begin));
    logits = state.decoder.append(piece);
    result.prompt_tokens += int64_t(piece.size());
  }
  result.prompt_s = seconds_since(start);
  if (result.end == GenerateEnd::stopped) return result;

  start = Clock::now();
  StopMatcher matcher(options.stop);
  const auto is_enough = [&] {
    return options.n_predict >= 0 && result.generated_tokens >= options.n_predict;
  };
  while (!is_enough()) {
    if (!result.tokens.empty()) logits = state.decoder.append({&result.tokens.back(), 1});
    const Token token = sample_next(state, logits, options);
    accept(state.sampler, token);
    result.tokens.push_back(token);
    ++result.generated_tokens;
    if (is_end(state, options, token)) {
      result.end = GenerateEnd::end_token;
      break;
    }
    emit(matcher.push(text_of(state.tokenizer, token, options.begins_text && result.generated_tokens == 1)));
    if (matcher.stopped()) {
      result.end = GenerateEnd::stop;
      break;
    }
    if (is_stopped()) {
      result.end = GenerateEnd::stopped;
      break;
    }
    if (state.decoder.n_past() == state.decoder.n_ctx()) {
      result.end = GenerateEnd::context;
      break;
    }
  }
  emit(matcher.finish());
  result.generate_s = seconds_since(start);
  return result;
}

}  // namespace lora
