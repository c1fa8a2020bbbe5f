// Against what a template may do to a conversation unseen: read special tokens that messages only spell,
// leave something out, or write something else.
#pragma once

#include <string>
#include <string_view>

#include "chat/training_text.h"

namespace lora {

// How thoughts stand in a content, in what most models and data sets have come to write.
inline constexpr std::string_view kThoughtsBegin = "<think>", kThoughtsEnd = "</think>";

// Whether a message or a tool spells a special token, so that the text has to be guarded.
bool spells_special(const Conversation& conversation, const Tokenizer& tokenizer);
// With a guard within each special token that is spelled, so that it can be told from the template's.
Conversation guarded(Conversation conversation, const Tokenizer& tokenizer);
// Takes the guards out of a text; special tokens are read between them.
void take_guards_out(TrainingText& written);

// All of these throw Error that names the template and what it does.

// That the text of a whole conversation has its tools.
void expect_tools(const nlohmann::ordered_json& tools, std::string_view text, const ChatTemplate& chat);
// That the text of a reply has what is said in it, its thoughts and its calls.
void expect_reply(const ChatMessage& message, std::string_view text, const ChatTemplate& chat);
// That the text of message i, which is a reply, has none of the messages before it.
void expect_no_other(const std::vector<ChatMessage>& messages, size_t i, std::string_view text,
                     const ChatTemplate& chat);

// Where the words stand in the text, as they are or as tojson puts them out; npos if nowhere.
size_t find_words(std::string_view text, std::string_view words, size_t from = 0);

}  // namespace lora
