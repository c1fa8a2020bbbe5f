// A conversation with a model through its chat template.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/chat_template.h"
#include "generate/generate.h"
#include "generate/session.h"

namespace lora {

class Chat {
 public:
  // Opens the model. options.prompt, parse_special and echo have no meaning here; n_predict limits each
  // reply. Error naming the file or option at fault, or a model whose chat template is not known.
  Chat(const GenerateOptions& options, const std::function<void(std::string_view)>& say);

  // Answers the user's next message. `context`: the conversation is full and cannot go on; a message that
  // does not fit gets no reply at all.
  GenerateEnd reply(std::string_view message, const ContinueEvents& events);

  // Of all replies so far; `end` is the last one's.
  GenerateResult total() const;

 private:
  std::vector<Token> next_prompt(std::string_view message);
  void start_over();

  GenerateOptions options_;
  Session session_;
  int64_t n_ctx_;
  ChatTemplate template_;
  uint64_t seed_;
  Sampler sampler_;
  std::optional<Decoder> decoder_;
  std::vector<ChatMessage> messages_;
  Continuation last_, sum_;
};

}  // namespace lora
