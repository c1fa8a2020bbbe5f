// How model families write a conversation down as text.
//
// A model was trained on conversations written in one form, which its metadata keeps as a Jinja program
// (tokenizer.chat_template). Here are the forms themselves, one row of a table each; the metadata is only
// looked at for marks that tell which row it is. Special tokens are spelled in the text: encode it with
// parse_special.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/conversation.h"
#include "tokenizer/tokenizer.h"

namespace lora {

// What stands before and after a message.
struct ChatAffix {
  std::string_view before, after;
};

// In all texts {bos} and {eos} stand for the model's own tokens.
struct ChatFamily {
  std::string_view name;
  ChatAffix system, user,
      assistant;                 // a space at the end of assistant.before belongs to the reply's first word
  std::string_view end_of_turn;  // between a reply and assistant.after: what the model says when done
  bool system_in_user = false;   // the system message stands inside the first user message
  std::string_view default_system{};  // of a conversation without a system message
  std::vector<std::string> stops{};   // by which models without such a token show that they are done
  // A metadata template that holds all of `marks` and not `unless` ("": no matter) is of this family.
  std::vector<std::string_view> marks{};
  std::string_view unless{};
};

// A family with the tokens of a model.
struct ChatTemplate {
  const ChatFamily* family = nullptr;
  std::string bos, eos;  // as spelled in the vocabulary, "" where the model has none
};

// All families, in the order in which marks are looked for.
std::span<const ChatFamily> chat_families();
std::string chat_family_names();  // "chatml, llama3, ..."

// nullptr if there is none.
const ChatFamily* find_chat_family(std::string_view name);
const ChatFamily* recognize_chat_family(std::string_view metadata_template);

// With the tokens of a model.
ChatTemplate template_of(const ChatFamily* family, const Tokenizer& tokenizer);
// The family of that name or, for "auto", the one recognized in the model's metadata; else Error that names
// the model file and lists the families.
ChatTemplate choose_chat_template(std::string_view name, const Tokenizer& tokenizer, std::string_view path);

// A stretch of a conversation written down.
struct ChatSpan {
  std::string text;
  bool is_template = false;  // the form's own; else what someone said, in which no special token is meant
  bool is_reply = false;     // an assistant's message with the space before it and its end of turn
  bool is_context = false;   // of a message that is
};

// The conversation's stretches in order; together they are what render() gives.
std::vector<ChatSpan> render_spans(const ChatTemplate& chat, std::span<const ChatMessage> messages,
                                   bool add_generation_prompt);

// The whole conversation. With add_generation_prompt it ends where the assistant's next message begins.
// The text of a conversation's begin is a prefix of the whole conversation's.
std::string render(const ChatTemplate& chat, std::span<const ChatMessage> messages,
                   bool add_generation_prompt);

// end_of_turn and assistant.after with the model's tokens put in.
std::string end_of_turn(const ChatTemplate& chat);
std::string after_turn(const ChatTemplate& chat);

// The texts after which a reply is over, beside end tokens.
std::vector<std::string> chat_stops(const ChatTemplate& chat);

}  // namespace lora
