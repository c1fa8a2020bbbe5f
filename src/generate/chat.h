// A conversation with a model through its chat template.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/chat_template.h"
#include "chat/conversation.h"
#include "generate/generate.h"
#include "generate/session.h"

namespace lora {

class Chat {
 public:
  // Opens the model. options.prompt, parse_special and echo have no meaning here; n_predict limits each
  // reply. Error naming the file or option at fault, or a model whose chat template is not there or cannot be
  // run.
  Chat(const GenerateOptions& options, const std::function<void(std::string_view)>& say);

  // Answers the user's next message. `context`: the conversation is full and cannot go on; a message that
  // does not fit gets no reply at all. Error for a conversation that the template refuses.
  GenerateEnd reply(std::string_view message, const ContinueEvents& events);

  // Of all replies so far; `end` is the last one's.
  GenerateResult total() const;

 private:
  std::vector<Token> prompt();

  GenerateOptions options_;
  std::function<void(std::string_view)> say_;
  Session session_;
  int64_t n_ctx_;
  ChatTemplates templates_;
  uint64_t seed_;
  Sampler sampler_;
  Decoder decoder_;
  std::vector<Token> seen_, end_tokens_;  // seen_: what the decoder holds
  Conversation conversation_;
  ChatForm form_;
  Continuation last_, sum_;
};

}  // namespace lora
