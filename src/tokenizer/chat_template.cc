#include "tokenizer/chat_template.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace lora {
namespace {

// Sources: the chat templates and prompt formats that the models' authors publish with them; Alpaca:
// Taori et al., 2023; Vicuna: the v1.1 conversation format of FastChat.
const std::vector<ChatFamily>& table() {
  static const std::vector<ChatFamily> families = {
      {.name = "chatml",
       .system = {"<|im_start|>system\n", "<|im_end|>\n"},
       .user = {"<|im_start|>user\n", "<|im_end|>\n"},
       .assistant = {"<|im_start|>assistant\n", "\n"},
       .end_of_turn = "<|im_end|>",
       .marks = {"<|im_start|>"}},
      {.name = "llama3",
       .system = {"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"},
       .user = {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"},
       .assistant = {"<|start_header_id|>assistant<|end_header_id|>\n\n", ""},
       .end_of_turn = "<|eot_id|>",
       .marks = {"<|start_header_id|>"}},
      {.name = "llama2",
       .system = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
       .user = {"{bos}[INST] ", " [/INST]"},
       .assistant = {" ", ""},
       .end_of_turn = " {eos}",
       .system_in_user = true,
       .marks = {"[INST]", "<<SYS>>"}},
      {.name = "mistral",
       .system = {"", "\n\n"},
       .user = {"[INST] ", " [/INST]"},
       .assistant = {" ", ""},
       .end_of_turn = "{eos}",
       .system_in_user = true,
       .marks = {"[INST]"},
       .unless = "[SYSTEM_PROMPT]"},
      {.name = "gemma",
       .system = {"", "\n\n"},
       .user = {"<start_of_turn>user\n", "<end_of_turn>\n"},
       .assistant = {"<start_of_turn>model\n", "\n"},
       .end_of_turn = "<end_of_turn>",
       .system_in_user = true,
       .marks = {"<start_of_turn>"}},
      {.name = "phi3",
       .system = {"<|system|>\n", "<|end|>\n"},
       .user = {"<|user|>\n", "<|end|>\n"},
       .assistant = {"<|assistant|>\n", "\n"},
       .end_of_turn = "<|end|>",
       .marks = {"<|user|>", "<|end|>"}},
      {.name = "zephyr",
       .system = {"<|system|>\n", "{eos}\n"},
       .user = {"<|user|>\n", "{eos}\n"},
       .assistant = {"<|assistant|>\n", "\n"},
       .end_of_turn = "{eos}",
       .marks = {"<|user|>", "eos_token"}},
      {.name = "alpaca",
       .system = {"", "\n\n"},
       .user = {"### Instruction:\n", "\n\n"},
       .assistant = {"### Response:\n", "\n\n"},
       .end_of_turn = "{eos}",
       .default_system = "Below is an instruction that describes a task. Write a response that appropriately "
                         "completes the request.",
       .stops = {"\n\n### Instruction:", "\n### Instruction:", "### Instruction:"},
       .marks = {"### Instruction:"},
       .unless = "<|EOT|>"},  // DeepSeek Coder, which has another form
      {.name = "vicuna",
       .system = {"", " "},
       .user = {"USER: ", " "},
       .assistant = {"ASSISTANT: ", ""},
       .end_of_turn = "{eos}",
       .stops = {"\nUSER:", " USER:", "USER:"},
       .marks = {"USER:", "ASSISTANT:"}},
      {.name = "deepseek",
       .system = {"", ""},
       .user = {"<｜User｜>", ""},
       .assistant = {"<｜Assistant｜>", ""},
       .end_of_turn = "<｜end▁of▁sentence｜>",
       .marks = {"<｜User｜>"}},
      {.name = "deepseek2",
       .system = {"", "\n\n"},
       .user = {"User: ", "\n\n"},
       .assistant = {"Assistant: ", ""},
       .end_of_turn = "{eos}",
       .stops = {"\n\nUser:"},
       .marks = {"'User: '", "'Assistant: '", "eos_token"}},
  };
  return families;
}

std::string spell(const ChatTemplate& chat, std::string_view text) {
  std::string result;
  while (!text.empty()) {
    if (text.starts_with("{bos}") || text.starts_with("{eos}")) {
      result += text[1] == 'b' ? chat.bos : chat.eos;
      text.remove_prefix(5);
    } else {
      result += text.front();
      text.remove_prefix(1);
    }
  }
  return result;
}

const ChatAffix& affix(const ChatFamily& family, ChatRole role) {
  return role == ChatRole::system ? family.system : role == ChatRole::user ? family.user : family.assistant;
}

}  // namespace

std::span<const ChatFamily> chat_families() {
  return table();
}

std::string chat_family_names() {
  std::string names;
  for (const ChatFamily& family : table()) names += (names.empty() ? "" : ", ") + std::string(family.name);
  return names;
}

const ChatFamily* find_chat_family(std::string_view name) {
  const auto found =
      std::find_if(table().begin(), table().end(), [&](const ChatFamily& f) { return f.name == name; });
  return found == table().end() ? nullptr : &*found;
}

const ChatFamily* recognize_chat_family(std::string_view metadata_template) {
  const auto holds = [&](std::string_view mark) { return metadata_template.find(mark) != mark.npos; };
  for (const ChatFamily& family : table()) {
    const bool excluded = !family.unless.empty() && holds(family.unless);
    if (!excluded && std::all_of(family.marks.begin(), family.marks.end(), holds)) return &family;
  }
  return nullptr;
}

ChatTemplate choose_chat_template(std::string_view name, const Tokenizer& tokenizer, std::string_view path) {
  const bool automatic = name == "auto";
  const ChatFamily* family =
      automatic ? recognize_chat_family(tokenizer.chat_template()) : find_chat_family(name);
  if (!family && automatic) {
    fail("{}: {}; say which to use with --chat-template: {}", path,
         tokenizer.chat_template().empty() ? "the model has no chat template"
                                           : "the model's chat template is of no known family",
         chat_family_names());
  }
  if (!family) fail("--chat-template: no family '{}'; known are {}", name, chat_family_names());
  const auto spelling = [&](Token token) { return token < 0 ? "" : tokenizer.piece(token); };
  return {family, spelling(tokenizer.bos()), spelling(tokenizer.eos())};
}

std::string render(const ChatTemplate& chat, std::span<const ChatMessage> messages,
                   bool add_generation_prompt) {
  const ChatFamily& family = *chat.family;
  std::string text, system;  // system: waits for the user message that it belongs into
  const auto add_system = [&](std::string_view content) {
    std::string& target = family.system_in_user ? system : text;
    target += spell(chat, family.system.before) + std::string(content) + spell(chat, family.system.after);
  };
  const bool has_system = !messages.empty() && messages.front().role == ChatRole::system;
  if (!has_system && !family.default_system.empty()) add_system(family.default_system);
  for (const ChatMessage& message : messages) {
    if (message.role == ChatRole::system) {
      add_system(message.content);
      continue;
    }
    const ChatAffix& around = affix(family, message.role);
    text += spell(chat, around.before);
    if (message.role == ChatRole::user) text += std::exchange(system, "");
    text += message.content;
    if (message.role == ChatRole::assistant) text += end_of_turn(chat);
    text += spell(chat, around.after);
  }
  if (add_generation_prompt) {
    text += spell(chat, family.assistant.before);
    if (text.ends_with(' ') && family.assistant.before.ends_with(' ')) text.pop_back();
  }
  return text;
}

std::string end_of_turn(const ChatTemplate& chat) {
  return spell(chat, chat.family->end_of_turn);
}

std::string after_turn(const ChatTemplate& chat) {
  return spell(chat, chat.family->assistant.after);
}

std::vector<std::string> chat_stops(const ChatTemplate& chat) {
  std::vector<std::string> stops = chat.family->stops;
  // A vocabulary that lacks the family's token writes it as text.
  if (chat.family->end_of_turn.find("{eos}") == std::string_view::npos) stops.push_back(end_of_turn(chat));
  return stops;
}

}  // namespace lora
