// The messages of a record: roles, thoughts, calls of tools, as programs write them down, to those of
// chat/conversation.h.
//
// Sources: the chat formats of OpenAI, Mistral and Anthropic, the messages of Hugging Face's templates, and
// ShareGPT's as LLaMA-Factory and ms-swift have them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "chat/conversation.h"
#include "data/record_fields.h"

namespace lora {

struct Record;

// A text, with line ends as everywhere. All throw Error "WHAT: WHY".
std::string text_of(const nlohmann::ordered_json& value, std::string_view what);
// A text, or a list of parts that are texts; joined.
std::string content_of(const nlohmann::ordered_json& value, std::string_view what);

// Adds a list of messages to the record's conversation, and notes in the record what of them was not read. Of
// one that is called prompt no reply is trained on.
void read_messages(const nlohmann::ordered_json& list, std::string_view name, Record& record);

// Into the conversation what a record, or a message of it, says of the tools that the model may call.
void read_tools(Fields& fields, Conversation& chat);
// Into the message the thoughts that stand beside it.
void read_thoughts(Fields& fields, ChatMessage& message);

}  // namespace lora
