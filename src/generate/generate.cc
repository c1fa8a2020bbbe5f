#include "generate/generate.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "generate/session.h"

namespace lora {

double per_second(int64_t n_tokens, double seconds) {
  return n_tokens > 0 && seconds > 0 ? double(n_tokens) / seconds : 0;
}

int64_t context_of(const GenerateOptions& options, const Model& model) {
  return options.n_ctx > 0 ? options.n_ctx : std::min(model.config.n_ctx_train, kMaxDefaultContext);
}

GenerateResult generate(const GenerateOptions& options, const GenerateEvents& events) {
  Session session(options, events.say);
  const int64_t n_ctx = context_of(options, session.model);
  warn_about_context(session, n_ctx, events.say);

  const std::vector<Token> prompt = session.tokenizer.encode_with_bos(options.prompt, options.parse_special);
  if (prompt.empty()) fail("prompt: empty, and the model has no begin-of-sequence token to start from");
  if (int64_t(prompt.size()) >= n_ctx) {
    fail("prompt: {} tokens do not fit a context of {} (--ctx-size)", prompt.size(), n_ctx);
  }
  const uint64_t seed = options.seed < 0 ? entropy_seed() : uint64_t(options.seed);
  Sampler sampler{options.sampler, seed};
  // A continuation of known length needs no more of the context than that.
  const auto n_prompt = int64_t(prompt.size());
  const int64_t n_used =
      options.n_predict >= 0 ? std::min(n_ctx - n_prompt, options.n_predict) : n_ctx - n_prompt;
  const int64_t n_room = n_prompt + std::max<int64_t>(1, n_used);
  expect_decoder_memory(session, n_room);
  Decoder decoder(session.model, decoder_options(session, n_room), session.pool);
  if (options.echo && events.on_text && !options.prompt.empty()) events.on_text(options.prompt);
  const Continuation done =
      continue_text({session.model, session.tokenizer, decoder, sampler}, prompt,
                    {options.n_predict, options.stop, options.ignore_eos, {}, options.prompt.empty()},
                    {events.on_text, events.should_stop});
  return {done.end,
          seed,
          done.prompt_tokens,
          done.generated_tokens,
          per_second(done.prompt_tokens, done.prompt_s),
          per_second(done.generated_tokens, done.generate_s)};
}

}  // namespace lora
