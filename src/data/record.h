// One record of a .jsonl, .json or .csv file, and what of it is trained on.
//
//   {"text": ...}                                                all of it
//   {"prompt": ..., "completion": ...}                           the completion
//   {"instruction": ..., "input": ..., "output": ...}            the output, in Alpaca's words; input may
//                                                                lack, system and history may be there
//   {"messages": [{"role": ..., "content": ...}, ...]}           every reply of the assistant
//   {"conversations": [{"from": ..., "value": ...}, ...]}        the same; system may be there
//
// A message of weight 0 (or train: false) is not trained on. No other field that changes what is learned is
// passed over: see data/record_fields.h.
//
// Sources: Taori et al., "Stanford Alpaca" (2023), with history as LLaMA-Factory has it; the chat formats of
// OpenAI and of ShareGPT.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/chat_template.h"

namespace lora {

struct Record {
  bool is_chat = false;
  std::string prompt, completion;     // a text is a completion without a prompt
  std::vector<ChatMessage> messages;  // of a chat, or in Alpaca's words before the completion
  bool splits_between_turns = false;  // a chat that goes on and on: a long one becomes several samples
  std::string only_with_all;          // why train_on_all alone can do what it asks for, "" if it does not
  std::set<std::string>
      ignored;  // fields that were not read, printable, those of messages as "messages[].NAME"
};

// A stretch of a record written down.
struct RecordSpan {
  std::string text;
  bool is_template = false, is_reply = false;  // as in ChatSpan; a completion is a reply
  bool is_trained = false;
};

// Throws Error that says what is missing, of the wrong kind, refused or unknown, without the file's name.
Record read_record(const nlohmann::json& json);
// The same from the JSON text of an object.
Record parse_record(std::string_view text);

// Whether the names are those of a record's fields.
bool are_record_fields(std::span<const std::string> names);
// All forms in words, for messages.
std::string_view record_forms();

// The record as stretches of text. Trained on are replies that are not empty, or all, but for messages of
// weight 0. What comes after the last of them is left out. `chat` is used for conversations; of other records
// its tokens alone. Throws Error for a record that asks for what only train_on_all does.
std::vector<RecordSpan> record_spans(const Record& record, const ChatTemplate& chat, bool train_on_all);

}  // namespace lora
