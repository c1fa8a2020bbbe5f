#include "chat/chat_template.h"

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
       .marks = {"<|im_start|>"},
       .unless = "<|im_sep|>"},
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
      // Mistral's versions differ in spaces, which its vocabularies turn into other tokens, and in where the
      // system message goes: by v3's own template into the last user message, but a conversation has to begin
      // the same however long it grows, so it goes into the first, as in llama.cpp.
      {.name = "mistral-v7",
       .system = {"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"},
       .user = {"[INST] ", "[/INST]"},
       .assistant = {" ", ""},
       .end_of_turn = "{eos}",
       .marks = {"[SYSTEM_PROMPT] ", "[INST] "}},
      {.name = "mistral-v7-tekken",
       .system = {"[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"},
       .user = {"[INST]", "[/INST]"},
       .assistant = {"", ""},
       .end_of_turn = "{eos}",
       .marks = {"[SYSTEM_PROMPT]", "[INST]"}},
      {.name = "mistral-v3",
       .system = {"", "\n\n"},
       .user = {"[INST] ", "[/INST]"},
       .assistant = {" ", ""},
       .end_of_turn = "{eos}",
       .system_in_user = true,
       .marks = {"[INST] ", "[/INST]"},
       .unless = " [/INST]"},
      {.name = "mistral-v3-tekken",
       .system = {"", "\n\n"},
       .user = {"[INST]", "[/INST]"},
       .assistant = {"", ""},
       .end_of_turn = "{eos}",
       .system_in_user = true,
       .marks = {"[INST]", "[/INST]"},
       .unless = " [/INST]"},
      {.name = "mistral",
       .system = {"", "\n\n"},
       .user = {"[INST] ", " [/INST]"},
       .assistant = {" ", ""},
       .end_of_turn = "{eos}",
       .system_in_user = true,
       .marks = {"[INST]"}},
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
      {.name = "phi4",
       .system = {"<|im_start|>system<|im_sep|>", "<|im_end|>"},
       .user = {"<|im_start|>user<|im_sep|>", "<|im_end|>"},
       .assistant = {"<|im_start|>assistant<|im_sep|>", ""},
       .end_of_turn = "<|im_end|>",
       .marks = {"<|im_start|>", "<|im_sep|>"}},
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

ChatTemplate template_of(const ChatFamily* family, const Tokenizer& tokenizer) {
  const auto spelling = [&](Token token) { return token < 0 ? "" : tokenizer.piece(token); };
  return {family, spelling(tokenizer.bos()), spelling(tokenizer.eos())};
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
  return template_of(family, tokenizer);
}

std::vector<ChatSpan> render_spans(const ChatTemplate& chat, std::span<const ChatMessage> messages,
                                   bool add_generation_prompt) {
  const ChatFamily& family = *chat.family;
  std::vector<ChatSpan> spans, system;  // system: waits for the user message that it belongs into
  bool is_context = false;              // of the message at hand
  const auto add = [&](std::vector<ChatSpan>& to, std::string text, bool is_template, bool is_reply = false) {
    if (!text.empty()) to.push_back({std::move(text), is_template, is_reply, is_context});
  };
  const auto add_form = [&](std::vector<ChatSpan>& to, std::string_view form) {
    add(to, spell(chat, form), true);
  };
  const auto add_system = [&](std::string_view content) {
    std::vector<ChatSpan>& to = family.system_in_user ? system : spans;
    add_form(to, family.system.before);
    add(to, std::string(content), false);
    add_form(to, family.system.after);
  };
  std::string_view before_reply = family.assistant.before, space;
  if (before_reply.ends_with(' ')) {
    space = " ";
    before_reply.remove_suffix(1);
  }
  const bool has_system = !messages.empty() && messages.front().role == "system";
  if (!has_system && !family.default_system.empty()) add_system(family.default_system);
  for (const ChatMessage& message : messages) {
    is_context = message.is_context;
    if (message.role == "system") {
      add_system(message.content);
      continue;
    }
    if (message.role == "user") {
      add_form(spans, family.user.before);
      spans.insert(spans.end(), system.begin(), system.end());
      system.clear();
      add(spans, message.content, false);
      add_form(spans, family.user.after);
    } else {
      add_form(spans, before_reply);
      add(spans, std::string(space), true, true);
      add(spans, message.content, false, true);
      add(spans, end_of_turn(chat), true, true);
      add_form(spans, family.assistant.after);
    }
  }
  is_context = false;
  if (add_generation_prompt) add_form(spans, before_reply);
  return spans;
}

std::string render(const ChatTemplate& chat, std::span<const ChatMessage> messages,
                   bool add_generation_prompt) {
  std::string text;
  for (const ChatSpan& span : render_spans(chat, messages, add_generation_prompt)) text += span.text;
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
