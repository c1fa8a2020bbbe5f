// Conversations written down for training: the text, and what of it is trained on.
//
// Trained on is what the template puts out for an assistant's message when that is the last one: from where
// the prompt for it ends (add_generation_prompt) to the token that ends the turn, which may be the first of
// the next turn ("<|user|>" of GLM). Where the template has {% generation %} blocks, what these put out, and
// the token that ends the turn. A template that writes a message otherwise once others follow (thoughts
// dropped) gives a text for each reply, as the model will see it; else one text holds all.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "chat/chat_template.h"

namespace lora {

struct TrainingText {
  std::string text;                // to the end of what is trained on, or all
  std::vector<TextRange> trained;  // bytes, in order and apart
  // Special tokens are read within these stretches, in order and together all: one that a message spells lies
  // across two.
  std::vector<TextRange> special_in;
  bool ends_turn = false;  // what is trained on last ends a turn of the assistant
};

struct TrainingTextOptions {
  bool train_on_all = false;   // all of the text but messages that are context
  bool parse_special = false;  // read the special tokens that messages spell, too
};

// The texts of a conversation, in the order of their last replies, each handed over once it is made; none
// where nothing is trained on. Returns the form in which the template took it. Throws jinja::TemplateError;
// Error where the template leaves something out that the conversation holds, or does not tell which text a
// message that is context gave: then what was handed over is void.
ChatForm write_training_texts(const Conversation& conversation, const ChatTemplate& chat,
                              const TrainingTextOptions& options, const Tokenizer& tokenizer,
                              const std::function<void(TrainingText)>& take);

// All of them at once, in a form that is known.
std::vector<TrainingText> training_texts(const Conversation& conversation, const ChatTemplate& chat,
                                         const ChatForm& form, const TrainingTextOptions& options,
                                         const Tokenizer& tokenizer);

// To look at, without a vocabulary: what the template leaves out is no error.
std::vector<TrainingText> training_texts(const Conversation& conversation, const ChatTemplate& chat,
                                         const ChatForm& form, const TrainingTextOptions& options);

// The text of a conversation up to where the model's reply begins; nothing is trained on.
TrainingText prompt_text(const Conversation& conversation, const ChatTemplate& chat, const ChatForm& form,
                         const Tokenizer& tokenizer);

}  // namespace lora
