// A conversation as a chat template sees it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lora {

struct ChatMessage {
  std::string role;         // in the words of templates: system, user, assistant, tool
  std::string content;      // "" where there is none
  bool is_context = false;  // is read and not learned from, whoever says it
  // What templates read beside role and content, null or an object: reasoning_content, tool_calls (a list of
  // {"id", "type": "function", "function": {"name", "arguments": an object}}), tool_call_id, name.
  nlohmann::ordered_json more = nullptr;
};

struct Conversation {
  std::vector<ChatMessage> messages;
  nlohmann::ordered_json tools = nullptr;  // null or a list: the functions that the model may call
};

}  // namespace lora
