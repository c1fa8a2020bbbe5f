#include "generate/chat.h"

#include "base/random.h"

namespace lora {

Chat::Chat(const GenerateOptions& options, const std::function<void(std::string_view)>& say)
    : options_(options),
      session_(options, say),
      n_ctx_(context_of(options, session_.model)),
      template_(choose_chat_template(options.chat_template, session_.tokenizer, options.model)),
      seed_(options.seed < 0 ? entropy_seed() : uint64_t(options.seed)),
      sampler_{options.sampler, seed_} {
  warn_about_context(session_, n_ctx_, say);
  expect_decoder_memory(session_, n_ctx_);
  for (std::string& stop : chat_stops(template_)) options_.stop.push_back(std::move(stop));
  start_over();
}

void Chat::start_over() {
  decoder_.reset();  // frees the old cache before the new one is made
  decoder_.emplace(session_.model, n_ctx_, kPromptBatch, session_.precision, session_.pool);
}

// The tokens between what the decoder has seen and the next reply. Adds the message to the conversation.
std::vector<Token> Chat::next_prompt(std::string_view message) {
  const Tokenizer& tokenizer = session_.tokenizer;
  const std::string before = render(template_, messages_, false);
  const bool is_first = messages_.empty();
  messages_.push_back({"user", std::string(message)});
  const std::string whole = render(template_, messages_, true);
  if (is_first) return tokenizer.encode_with_bos(whole, true);
  // The decoder has seen tokens of the stop string, which are no part of the conversation.
  if (last_.end == GenerateEnd::stop) {
    start_over();
    return tokenizer.encode_with_bos(whole, true);
  }
  const bool has_ended = last_.end == GenerateEnd::end_token;
  std::vector<Token> tokens;
  if (!has_ended && last_.last >= 0) tokens.push_back(last_.last);
  // The end token is spelled rather than fed by itself, since the tokenizer may treat what follows by it.
  const std::string end = has_ended ? tokenizer.decode(last_.last, true) : end_of_turn(template_);
  const std::string rest = end + after_turn(template_) + whole.substr(before.size());
  for (Token token : tokenizer.encode(rest, true)) tokens.push_back(token);
  return tokens;
}

GenerateEnd Chat::reply(std::string_view message, const ContinueEvents& events) {
  const std::vector<Token> prompt = next_prompt(message);
  if (decoder_->n_past() + int64_t(prompt.size()) >= n_ctx_) return last_.end = GenerateEnd::context;

  // The space between the template's last mark and the reply is no part of the reply.
  bool drops_space = template_.family->assistant.before.ends_with(' ');
  std::string text;
  const auto on_text = [&](const std::string& piece) {
    const std::string kept = drops_space && piece.starts_with(' ') ? piece.substr(1) : piece;
    drops_space = false;
    text += kept;
    if (events.on_text && !kept.empty()) events.on_text(kept);
  };
  last_ = continue_text({session_.model, session_.tokenizer, *decoder_, sampler_}, prompt,
                        {options_.n_predict, options_.stop, options_.ignore_eos, false},
                        {on_text, events.should_stop});
  messages_.push_back({"assistant", text});
  sum_.prompt_tokens += last_.prompt_tokens;
  sum_.generated_tokens += last_.generated_tokens;
  sum_.prompt_s += last_.prompt_s;
  sum_.generate_s += last_.generate_s;
  return last_.end;
}

GenerateResult Chat::total() const {
  return {last_.end,
          seed_,
          sum_.prompt_tokens,
          sum_.generated_tokens,
          per_second(sum_.prompt_tokens, sum_.prompt_s),
          per_second(sum_.generated_tokens, sum_.generate_s)};
}

}  // namespace lora
