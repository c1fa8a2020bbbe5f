// One record of a .jsonl, .json or .csv file, and what of it is trained on.
//
//   {"text": ...}                                                all of it
//   {"prompt": ..., "completion": ...}                           the completion
//   {"instruction": ..., "input": ..., "output": ...}            the output, in Alpaca's words; input may
//   lack
//   {"messages": [{"role": ..., "content": ...}, ...]}           every reply of the assistant
//   {"conversations": [{"from": ..., "value": ...}, ...]}        the same
//
// Sources: Taori et al., "Stanford Alpaca" (2023); the chat formats of OpenAI and of ShareGPT.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/chat_template.h"

namespace lora {

struct Record {
  bool is_chat = false;
  std::string prompt, completion;  // a text is a completion without a prompt
  std::vector<ChatMessage> messages;
};

// Throws Error that says what is missing, of the wrong kind or unknown, without the file's name.
Record read_record(const nlohmann::json& json);
// The same from the JSON text of an object.
Record parse_record(std::string_view text);

// Whether the names are those of a record's fields.
bool are_record_fields(std::span<const std::string> names);
// All forms in words, for messages.
std::string_view record_forms();

// A SillyTavern line: {"name": ..., "is_user": ..., "mes": ...}. False for lines that are no message (the
// header, remarks hidden from the model); Error for what is none of both.
bool is_sillytavern(const nlohmann::json& json);
bool read_sillytavern(const nlohmann::json& json, ChatMessage& message);

// The record as stretches of text; is_reply marks what is trained on: replies that are not empty, or all.
// What comes after the last of them is left out. `chat` is used for conversations.
std::vector<ChatSpan> record_spans(const Record& record, const ChatTemplate& chat, bool train_on_all);

}  // namespace lora
