#include "data/record.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "data/chatgpt.h"
#include "data/record_fields.h"
#include "data/record_json.h"
#include "data/record_messages.h"

namespace lora {
namespace {

using json = nlohmann::ordered_json;

// How a record is written down.
enum Way : unsigned {
  kPlain = 1,     // as it stands
  kAlpaca = 2,    // in Alpaca's words
  kPair = 4,      // a question and its answer, as the chat template does
  kMessages = 8,  // a conversation, as it does too
};

// The first form of which a record has all fields is the record's.
struct Form {
  std::string_view asked, answered;  // asked: "" if there is none
  Way way;
};
constexpr Form kForms[] = {
    {"prompt", "completion", kPlain},
    {"prompt", "response", kPair},
    {"instruction", "output", kAlpaca},
    {"question", "answer", kPair},
    {"instruction", "response", kAlpaca},
    {"query", "response", kPair},
    {"", "text", kPlain},
};
// Conversations, by the field that holds them; they come before the forms.
struct ListRow {
  const char* name;
  void (*read)(Fields& fields, Record& record);
};
void read_conversation(Fields& fields, std::initializer_list<const char*> lists, Record& record);
constexpr ListRow kLists[] = {
    {"messages", [](Fields& fields, Record& record) { read_conversation(fields, {"messages"}, record); }},
    {"conversations",
     [](Fields& fields, Record& record) { read_conversation(fields, {"conversations"}, record); }},
    {"conversation",
     [](Fields& fields, Record& record) { read_conversation(fields, {"conversation"}, record); }},
    {"mapping", read_chatgpt},
};

// Fields beside those of a form, and the ways that have no place for them. In the others they are read or, as
// what has no meaning here, listed.
struct Beside {
  const char* name;
  unsigned refused;
};
constexpr Beside kBeside[] = {
    {"system", kPlain},
    {"system_prompt", kPlain},
    {"system_message", kPlain},
    {"history", kPlain | kMessages},
    {"input", 0},
    {"context", kPair},
    {"tools", kPlain | kAlpaca},
    {"functions", kPlain | kAlpaca},
    {"reasoning_content", kPlain | kAlpaca | kMessages},
    {"reasoning", kPlain | kAlpaca | kMessages},
    {"thinking", kPlain | kAlpaca | kMessages},
    {"weight", 0},
    {"train", 0},
    {"training", 0},
    {"trainable", 0},
};

std::string_view why_no_place(Way way) {
  switch (way) {
    case kPlain:
      return "texts are trained on as they stand, with no place for it; write it into them, or use messages";
    case kAlpaca:
      return "Alpaca's words have no place for it; use messages";
    case kPair:
      return "a question and its answer have no place for it; write it into the question, or use messages";
    case kMessages:
      break;
  }
  return "messages have no place for it beside them; write it into them";
}

std::string required_text(Fields& fields, std::string_view key) {
  const json* value = fields.find(key);
  if (!value) fail("{}: missing", key);
  return text_of(*value, key);
}

// The turns before a record's own: [question, answer] pairs. Their answers are learned from as well.
void read_history(const json& value, std::vector<ChatMessage>& messages) {
  const auto is_pair = [](const json& turn) {
    return turn.is_array() && turn.size() == 2 && turn[0].is_string() && turn[1].is_string();
  };
  json parsed;
  const json& history = list_of(value, "history", parsed);
  if (!std::ranges::all_of(history, is_pair)) fail("history: expected a list of [question, answer] pairs");
  for (const json& turn : history) {
    messages.push_back({"user", text_of(turn[0], "history")});
    messages.push_back({"assistant", text_of(turn[1], "history")});
  }
}

// A record's own system message, "" if it has none.
std::string system_of(Fields& fields) {
  std::string system;
  for (const char* name : {"system", "system_prompt", "system_message"}) {
    const json* value = fields.find_filled(name);
    if (!value) continue;
    std::string content = content_of(*value, name);
    if (!system.empty() && system != content) fail("{}: it has another system message, too", name);
    system = std::move(content);
  }
  return system;
}

// What an instruction is to be applied to, "" if there is nothing.
std::string input_of(Fields& fields) {
  std::string input;
  for (const char* name : {"input", "context"}) {
    const json* value = fields.find_filled(name);
    if (!value) continue;
    if (!input.empty()) fail("{}: it has an input, too", name);
    input = text_of(*value, name);
  }
  return input;
}

void add_system(Conversation& chat, std::string system) {
  std::vector<ChatMessage>& messages = chat.messages;
  if (messages.empty() || messages[0].role != "system") {
    messages.insert(messages.begin(), {"system", std::move(system)});
  } else if (messages[0].content != system) {
    fail("system: the conversation begins with another system message");
  }
}

// A question and its answer, with what came before. In Alpaca's words, without system and input, the first
// words are those that the template has by itself. An input goes below the question, as LLaMA-Factory and
// axolotl write Alpaca's records for chat models.
void read_turn(Fields& fields, const Form& form, Record& record) {
  Conversation& chat = record.chat.emplace();
  std::string system = system_of(fields);
  ChatMessage asked = {"user", required_text(fields, form.asked)};
  ChatMessage answered = {"assistant", required_text(fields, form.answered)};
  if (form.way == kAlpaca) {
    record.in_alpacas_words = true;
    const std::string input = input_of(fields);
    if (!input.empty()) asked.content += "\n\n### Input:\n" + input;
    if (!input.empty() && system.empty()) {
      system =
          "Below is an instruction that describes a task, paired with an input that provides further "
          "context. Write a response that appropriately completes the request.";
    }
  } else {
    if (const json* input = fields.find_filled("input"))
      asked.content.append(1, '\n').append(text_of(*input, "input"));
    read_tools(fields, chat);
    read_thoughts(fields, answered);
  }
  if (!system.empty()) chat.messages.push_back({"system", std::move(system)});
  if (const json* history = fields.find_filled_list("history")) read_history(*history, chat.messages);
  chat.messages.push_back(std::move(asked));
  chat.messages.push_back(std::move(answered));
}

void read_conversation(Fields& fields, std::initializer_list<const char*> lists, Record& record) {
  Conversation& chat = record.chat.emplace();
  read_tools(fields, chat);
  for (const char* name : lists) {
    const json* list = fields.find(name);
    if (!list) fail("{}: missing", name);
    read_messages(*list, name, record);
  }
  if (std::string system = system_of(fields); !system.empty()) add_system(chat, std::move(system));
}

Way read_prompt(Fields& fields, Record& record) {
  const json *prompt = fields.find("prompt"), *completion = fields.find("completion");
  if (prompt && completion && prompt->is_array() != completion->is_array())
    fail("prompt and completion: one is a list of messages, the other is not");
  if (prompt && prompt->is_array()) {
    read_conversation(fields, {"prompt", "completion"}, record);
    return kMessages;
  }
  record.prompt = required_text(fields, "prompt");
  record.completion = required_text(fields, "completion");
  return kPlain;
}

const Form* form_of(const json& object) {
  const auto has = [&](std::string_view name) {
    const auto it = name.empty() ? object.end() : object.find(std::string(name));
    return it != object.end() && !it->is_null();
  };
  for (const Form& form : kForms) {
    if ((form.asked.empty() || has(form.asked)) && has(form.answered)) return &form;
  }
  for (const Form& form : kForms) {  // the one of which something is missing
    if (has(form.asked) || has(form.answered)) return &form;
  }
  return nullptr;
}

std::string names_of(const json& object) {
  std::string names;
  for (const auto& item : object.items()) names += (names.empty() ? "" : ", ") + printable(item.key());
  return names.empty() ? "none" : names;
}

Way read_form(const json& object, Fields& fields, Record& record) {
  for (const ListRow& list : kLists) {
    if (!object.contains(list.name) || object[list.name].is_null()) continue;
    list.read(fields, record);
    return kMessages;
  }
  const Form* form = form_of(object);
  if (!form) {
    fail("found the fields {}; expected one of these forms: {} (--columns prompt=A,completion=B for others)",
         names_of(object), record_forms());
  }
  if (form->way != kPlain) {
    read_turn(fields, *form, record);
  } else if (!form->asked.empty()) {
    return read_prompt(fields, record);
  } else {
    record.completion = required_text(fields, form->answered);
  }
  return form->way;
}

std::vector<std::string_view> field_names() {
  std::vector<std::string_view> names;
  for (const ListRow& list : kLists) names.push_back(list.name);
  const auto add = [&](std::string_view name) {
    if (!name.empty() && std::ranges::find(names, name) == names.end()) names.push_back(name);
  };
  for (const Form& form : kForms) {
    add(form.asked);
    add(form.answered);
  }
  for (const Beside& field : kBeside) add(field.name);
  return names;
}

}  // namespace

std::string record_forms() {
  std::string forms;
  for (const Form& form : kForms) {
    forms += fmt::format("{}{}{}, ", form.asked, form.asked.empty() ? "" : " and ", form.answered);
  }
  for (const ListRow& list : kLists) forms += fmt::format("{}, ", list.name);
  return forms.substr(0, forms.size() - 2);
}

bool are_record_fields(std::span<const std::string> names) {
  const auto has = [&](std::string_view name) { return std::ranges::find(names, name) != names.end(); };
  return std::ranges::any_of(kLists, has, &ListRow::name) ||
         std::ranges::any_of(kForms, [&](const Form& form) {
           return (form.asked.empty() || has(form.asked)) && has(form.answered);
         });
}

bool is_record_field(std::string_view name) {
  const auto names = field_names();
  return std::ranges::find(names, name) != names.end();
}

std::string record_fields() {
  std::string list;
  for (const std::string_view name : field_names())
    list += fmt::format("{}{}", list.empty() ? "" : ", ", name);
  return list;
}

Record read_record(const json& object) {
  if (!object.is_object()) fail("expected an object with named fields, found {}", object.type_name());
  const bool is_chatgpt = object.contains("mapping") && !object["mapping"].is_null();
  Fields fields(object, is_chatgpt ? FieldPlace::chatgpt : FieldPlace::record);
  if (fields.is_trained() == false) fail("nothing to train on: the record's weight is 0");
  Record record;
  const Way way = read_form(object, fields, record);
  for (const Beside& field : kBeside) {
    if ((field.refused & way) && fields.find_filled_list(field.name))
      fail("{}: {}", field.name, why_no_place(way));
  }
  fields.add_ignored(record.ignored, "");
  return record;
}

Record parse_record(std::string_view text) {
  return read_record(parse_json(text));
}

}  // namespace lora
