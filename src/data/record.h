// One record of a .jsonl, .json or .csv file, and what of it is trained on.
//
//   {"text": ...}                                                all of it
//   {"prompt": ..., "completion": ...}                           the completion
//   {"prompt": [messages], "completion": [messages]}             what the assistant says in the completion
//   {"messages": [{"role": ..., "content": ...}, ...]}           every reply of the assistant
//   {"conversations": [{"from": ..., "value": ...}, ...]}        the same; also as conversation
//   {"mapping": {...}, "current_node": ...}                      the same, as ChatGPT exports it
//   {"prompt": ..., "response": ...}                             the answer; question and answer too,
//                                                                and query and response
//   {"instruction": ..., "input": ..., "output": ...}            the output, in Alpaca's words; input may
//                                                                lack; so instruction, context and response
//
// Beside a conversation there may be system and tools, beside single turns also history, and
// reasoning_content beside an answer (data/record_messages.h). A message of weight 0 (or train: false) is not
// trained on. No other field that changes what is learned is passed over: see data/record_fields.h.
//
// Sources: Taori et al., "Stanford Alpaca" (2023), with history as LLaMA-Factory has it; Conover et al.,
// "Dolly" (2023); the data formats of TRL; the chat formats of OpenAI and of ShareGPT.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/conversation.h"

namespace lora {

struct Record {
  std::optional<Conversation> chat;  // written down by a chat template
  bool in_alpacas_words = false;     // by the built-in template `alpaca`, whatever the model's is
  // A chat that goes on and on: a long one becomes several samples.
  bool splits_between_turns = false;
  std::string prompt, completion;  // without chat: texts; a text is a completion without a prompt
  std::string only_with_all;       // why train_on_all alone can do what it asks for, "" if it does not
  // Fields that were not read, printable, those of messages as "messages[].NAME".
  std::set<std::string> ignored;
};

// Throws Error that says what is missing, of the wrong kind, refused or unknown, without the file's name.
Record read_record(const nlohmann::ordered_json& json);
// The same from the JSON text of an object.
Record parse_record(std::string_view text);

// Whether the names are those of a record's fields.
bool are_record_fields(std::span<const std::string> names);
// Whether a form of record reads a field of that name; all of those names, for messages.
bool is_record_field(std::string_view name);
std::string record_fields();
// All forms in words, for messages.
std::string record_forms();

}  // namespace lora
