// How a conversation is written down as text: by a chat template, a Jinja program (template/template.h) that
// a model carries in its metadata (tokenizer.chat_template), that a file holds, or one of chat/built_in/.
//
// A template sees what Hugging Face's apply_chat_template gives it: messages, tools, documents (none),
// add_generation_prompt, the spellings of the model's special tokens, and enable_thinking where it is asked
// for. Special tokens are spelled in the text: encode it with parse_special.
#pragma once

#include <array>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "template/template.h"
#include "tokenizer/tokenizer.h"

namespace lora {

struct ChatMessage;  // chat/conversation.h
struct Conversation;

// What templates may ask for beside the conversation.
struct ChatSettings {
  std::shared_ptr<const nlohmann::ordered_json> variables;  // by name, as enable_thinking; null: none
  jinja::Date now{};                                        // of strftime_now
};

// What a conversation needs that a template does not take as it is, found by trying.
struct ChatForm {
  bool system_in_user = false;     // a system message stands at the head of the user's next one
  bool arguments_as_text = false;  // a tool call's arguments are the text of a JSON object
  bool user_first = false;         // a user's message, kNoQuestion, stands before a reply that begins it
};
inline constexpr std::string_view kNoQuestion = "[Start a new chat]";  // SillyTavern's words for it

class ChatTemplate {
 public:
  struct Tokens {
    std::string bos, eos, unk, pad;  // as spelled, "" where the model has none
  };

  // `name` is for messages. Throws Error for a text that is no template, or uses what cannot be run.
  ChatTemplate(std::string name, std::string_view source, Tokens tokens, ChatSettings settings = {});

  const std::string& name() const { return name_; }
  bool uses_date() const { return uses_date_; }  // through strftime_now

  // What it writes for messages in its own terms (class WrittenDown makes them). Throws jinja::TemplateError.
  jinja::Rendered render(jinja::Value messages, const jinja::Value& tools, bool add_generation_prompt,
                         jinja::Beginnings* beginnings = nullptr) const;
  const std::string& eos() const { return tokens_.eos; }
  // What it writes for variables that are given, as messages, in its own terms.
  jinja::Rendered render(nlohmann::ordered_json variables) const;
  // Whether a content has to be a list of parts, else it is lost.
  bool takes_parts_only() const { return takes_parts_only_; }
  // The field of a message that it reads thoughts from: reasoning_content, thinking or reasoning.
  const char* thoughts_field() const { return thoughts_field_; }

  // What the template puts behind a plain reply, up to and with the first token in it: "<|im_end|>"; "" where
  // nothing that looks like a token stands there. It may belong to the next turn, as "<|user|>" does.
  const std::string& end_of_turn() const { return end_of_turn_; }
  // The same with the marks that stand right behind it and are the turn's too, before whatever comes next:
  // "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>".
  const std::string& closing() const { return closing_; }
  // Whether the template itself puts the end of a turn behind its last reply; else the next turn's begin is
  // it.
  bool closes_turns() const { return !end_of_turn_.empty() && after_reply_.starts_with(end_of_turn_); }
  // Texts by which a model without an end token shows that its reply is over: end_of_turn, and what the
  // template puts before the user's next message.
  const std::vector<std::string>& stops() const { return stops_; }
  // What follows a plain reply that is the last message, end_of_turn included where it is there.
  const std::string& after_reply() const { return after_reply_; }
  // What it puts before a reply, at the end of a prompt; and what stands between that and the reply's text.
  const std::string& generation_prompt() const { return generation_prompt_; }
  const std::string& before_reply() const { return before_reply_; }

 private:
  void probe();

  std::string name_;
  std::shared_ptr<const jinja::Template> template_;
  Tokens tokens_;
  ChatSettings settings_;
  bool uses_date_;
  bool takes_parts_only_ = false;  // a content is a list of parts, else it is lost
  const char* thoughts_field_ = "reasoning_content";
  std::string end_of_turn_, closing_, after_reply_, generation_prompt_, before_reply_;
  std::vector<std::string> stops_;
};

// A conversation in the terms of a template, to render any beginning of it. The template must stay.
//
// A template is a program that may look at all messages before it writes the first, so that a beginning is a
// rendering of its own, unless it can be told from that of the whole. The whole text and the last few
// beginnings are kept.
class WrittenDown {
 public:
  using Text = std::shared_ptr<const jinja::Rendered>;

  WrittenDown(const Conversation& conversation, const ChatTemplate& chat, const ChatForm& form = {});
  // In the form in which the template takes the whole conversation: as it is, else the first of those that
  // apply. Throws the template's error where none does.
  static WrittenDown in_its_form(const Conversation& conversation, const ChatTemplate& chat,
                                 bool add_generation_prompt);

  const ChatForm& form() const { return form_; }
  size_t n_messages() const { return n_values_.size() - 1; }
  // The first n messages; throws jinja::TemplateError.
  Text beginning(size_t n, bool add_generation_prompt) const;
  std::string text(size_t n, bool add_generation_prompt) const {
    return beginning(n, add_generation_prompt)->text;
  }
  // How many texts that begin the whole were told from it, so that asking for them costs nothing.
  size_t n_known() const;
  // The first n messages, the last of them said otherwise, and the one behind them, which is `next` where
  // there is none.
  WrittenDown with_other(size_t n, const ChatMessage& last, const ChatMessage& next) const;

 private:
  WrittenDown(const ChatTemplate* chat, const ChatForm& form) : chat_(chat), form_(form) {}
  jinja::Value value_of(const ChatMessage& message, const std::string& content) const;

  struct Kept {
    size_t n = 0;
    bool has_prompt = false;
    Text text;
  };
  const ChatTemplate* chat_;
  ChatForm form_;
  std::vector<jinja::Value> values_;
  std::vector<size_t> n_values_{0};  // for each number of messages
  jinja::Value tools_;
  mutable Text whole_;
  mutable std::vector<jinja::Beginning> beginnings_;  // by the number of values, once there is a whole
  // What a reply is cut out with: its text, its prompt, the beginning before it and the one behind it.
  mutable std::array<Kept, 6> kept_;
  mutable size_t oldest_ = 0;
};

// The form alone.
inline ChatForm find_form(const Conversation& conversation, const ChatTemplate& chat,
                          bool add_generation_prompt) {
  return WrittenDown::in_its_form(conversation, chat, add_generation_prompt).form();
}

// Bytes of the mark that the text begins with, 0 if none: what is spelled like a special token, "<|end|>",
// "</s>", "[INST]", or is `eos`.
size_t mark_size(std::string_view text, std::string_view eos);

// The templates that a model has, or that are given for it.
class ChatTemplates {
 public:
  // `choice`: auto (the model's own; of its named ones tool_use for conversations with tools), the name of
  // one that the model has, of a built-in one, or a file ending in .jinja. Throws Error naming `path`, the
  // model's, or the file, with what could be chosen.
  ChatTemplates(std::string_view choice, const Tokenizer& tokenizer, std::string_view path,
                const ChatSettings& settings);

  // Throws Error for a conversation with tools whose template cannot be run.
  const ChatTemplate& of(const Conversation& conversation) const;
  bool use_date() const;
  const ChatTemplate& plain() const { return *plain_; }

 private:
  std::shared_ptr<const ChatTemplate> plain_, with_tools_;
  std::string why_not_with_tools_;
};

ChatTemplate::Tokens chat_tokens(const Tokenizer& tokenizer);
// Whether a choice that is no name of a template is a file's: it ends in .jinja or has a folder.
bool is_template_file(std::string_view choice);
// Of the built-in one of that name, else of the file. Throws Error naming it.
ChatTemplate read_chat_template(const std::string& name, ChatTemplate::Tokens tokens,
                                const ChatSettings& settings);
// The built-in templates for a model that has none of its own, by name.
struct FittingTemplates {
  std::vector<std::string>
      by_tokens;  // their marks are tokens of the vocabulary, so that the model may know them
  std::vector<std::string> plain;  // they have no marks, but plain words
};
FittingTemplates fitting_templates(const Tokenizer& tokenizer);
// "chatml, llama3, …".
std::string built_in_template_names();
// The text of one of them; nullptr if there is none of that name.
const std::string_view* find_built_in_template(std::string_view name);

}  // namespace lora
