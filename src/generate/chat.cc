#include "generate/chat.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "chat/training_text.h"
#include "chat/words.h"

namespace lora {
namespace {

// Where the model has them as tokens, for those that the tokenizer does not know as ends ("<|user|>").
std::vector<Token> end_tokens(const ChatTemplate& chat, const Tokenizer& tokenizer) {
  const Token token = tokenizer.find(trimmed(chat.end_of_turn()));
  return token < 0 || tokenizer.kind(token) != TokenKind::control ? std::vector<Token>()
                                                                  : std::vector<Token>{token};
}

std::shared_ptr<const nlohmann::ordered_json> variables_of(const GenerateOptions& options) {
  if (!options.enable_thinking) return nullptr;
  return std::make_shared<nlohmann::ordered_json>(
      nlohmann::ordered_json{{"enable_thinking", *options.enable_thinking}});
}

}  // namespace

Chat::Chat(const GenerateOptions& options, const std::function<void(std::string_view)>& say)
    : options_(options),
      say_(say),
      session_(options, say),
      n_ctx_(context_of(options, session_.model)),
      templates_(options.chat_template, session_.tokenizer, options.model,
                 {variables_of(options), options.date.value_or(local_time())}),
      seed_(options.seed < 0 ? entropy_seed() : uint64_t(options.seed)),
      sampler_{options.sampler, seed_},
      decoder_((warn_about_context(session_, n_ctx_, say), expect_decoder_memory(session_, n_ctx_),
                session_.model),
               decoder_options(session_, n_ctx_), session_.pool),
      end_tokens_(end_tokens(templates_.plain(), session_.tokenizer)) {
  for (const std::string& stop : templates_.plain().stops()) options_.stop.push_back(stop);
  if (!options.system.empty()) conversation_.messages.push_back({"system", options.system});
}

// The tokens of the conversation up to the next reply.
std::vector<Token> Chat::prompt() {
  const ChatTemplate& chat = templates_.plain();
  const ChatForm form = find_form(conversation_, chat, true);
  if (form.system_in_user && !form_.system_in_user && say_)
    say_("note: the chat template takes no system message: it stands at the head of the first message");
  form_ = form;
  const TrainingText written = prompt_text(conversation_, chat, form, session_.tokenizer);
  if (written.text.find(trimmed(conversation_.messages.back().content)) == std::string::npos)
    fail("--chat-template: {} does not write what the user says", chat.name());
  std::vector<Token> tokens;
  Encoder(session_.tokenizer).append(tokens, written.text, written.special_in);
  const Token bos = session_.tokenizer.bos();
  if (session_.tokenizer.add_bos() && (tokens.empty() || tokens[0] != bos))
    tokens.insert(tokens.begin(), bos);
  return tokens;
}

GenerateEnd Chat::reply(std::string_view message, const ContinueEvents& events) {
  const ChatTemplate& chat = templates_.plain();
  conversation_.messages.push_back({"user", std::string(message)});
  const std::vector<Token> tokens = prompt();
  if (tokens.empty()) fail("--chat-template: {} writes nothing for the conversation", chat.name());
  if (int64_t(tokens.size()) >= n_ctx_) return last_.end = GenerateEnd::context;
  // What the decoder has seen of them. At least one has to be fed for the logits.
  const auto same = std::ranges::mismatch(tokens, seen_).in1 - tokens.begin();
  const int64_t kept = decoder_.keep(std::min<int64_t>(same, int64_t(tokens.size()) - 1));

  // The space between the template's last mark and the reply is no part of the reply.
  bool drops_space = chat.before_reply() == " ";
  std::string text;
  const auto on_text = [&](const std::string& piece) {
    const std::string shown = drops_space && piece.starts_with(' ') ? piece.substr(1) : piece;
    drops_space = false;
    text += shown;
    if (events.on_text && !shown.empty()) events.on_text(shown);
  };
  last_ = continue_text({session_.model, session_.tokenizer, decoder_, sampler_},
                        std::span(tokens).subspan(size_t(kept)),
                        {options_.n_predict, options_.stop, options_.ignore_eos, end_tokens_, false},
                        {on_text, events.should_stop});
  conversation_.messages.push_back({"assistant", text});
  seen_ = tokens;
  seen_.insert(seen_.end(), last_.tokens.begin(), last_.tokens.end());
  seen_.resize(size_t(decoder_.n_past()));
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
