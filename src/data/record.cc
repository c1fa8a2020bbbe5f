#include "data/record.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_depth.h"
#include "base/printable.h"
#include "data/record_fields.h"
#include "data/text_file.h"

namespace lora {
namespace {

using nlohmann::json;

constexpr std::string_view kForms =
    "text; prompt and completion; instruction and output; messages; conversations";

// What people and programs call the three roles.
struct RoleName {
  std::string_view name, role;
};
constexpr RoleName kRoles[] = {
    {"system", "system"},     {"developer", "system"},    {"user", "user"},
    {"human", "user"},        {"assistant", "assistant"}, {"gpt", "assistant"},
    {"chatgpt", "assistant"}, {"bot", "assistant"},       {"model", "assistant"},
};

std::string text_of(const json& value, std::string_view what) {
  if (!value.is_string()) fail("{}: expected a text, found {}", what, value.type_name());
  return with_unix_newlines(value.get_ref<const std::string&>());
}

std::string required_text(Fields& fields, const char* key) {
  const json* value = fields.find(key);
  if (!value) fail("{}: missing", key);
  return text_of(*value, key);
}

// Text, or a list of parts that are texts.
std::string content_of(const json& value, std::string_view what) {
  if (!value.is_array()) return text_of(value, what);
  constexpr std::string_view text_types[] = {"text", "input_text", "output_text"};
  std::string content;
  for (const json& part : value) {
    if (!part.is_object()) fail("{}: a part that is no text", what);
    const auto text = part.find("text"), type = part.find("type");
    if (type != part.end() && type->is_string() &&
        std::ranges::find(text_types, type->get_ref<const std::string&>()) == std::end(text_types)) {
      fail("{}: a part of type \"{}\"; only text can be trained on", what,
           printable(type->get_ref<const std::string&>()));
    }
    if (text == part.end()) fail("{}: a part that is no text", what);
    content += text_of(*text, what);
  }
  return content;
}

std::string role_of(const std::string& name) {
  for (const RoleName& row : kRoles) {
    if (row.name == name) return std::string(row.role);
  }
  std::string known;
  for (const RoleName& row : kRoles) known += (known.empty() ? "" : ", ") + std::string(row.name);
  fail("unknown role \"{}\"; known are {}", printable(name), known);
}

ChatMessage message_of(const json& item, std::string_view which, Record& record) {
  if (!item.is_object()) fail("expected an object, found {}", item.type_name());
  Fields fields(item, FieldPlace::message);
  const json* role = fields.find("role");
  if (!role) role = fields.find("from");
  const json* content = fields.find("content");
  if (!content) content = fields.find("value");
  if (!role) fail("no role or from");
  if (!content) fail("no content or value");
  ChatMessage message = {role_of(text_of(*role, "role")), content_of(*content, "content")};
  message.is_context = fields.is_trained() == false;
  if (message.role != "assistant" && fields.asks_to_be_trained()) {
    record.only_with_all = fmt::format(
        "{}: it asks to be trained on but is no reply; --train-on all trains on it, and on all others",
        which);
  }
  fields.add_ignored(record.ignored, fmt::format("{}[].", which.substr(0, which.find('['))));
  return message;
}

void read_messages(const json& list, std::string_view key, Record& record) {
  if (!list.is_array()) fail("{}: expected a list, found {}", key, list.type_name());
  for (const json& item : list) {
    const std::string which = fmt::format("{}[{}]", key, record.messages.size());
    try {
      record.messages.push_back(message_of(item, which, record));
    } catch (const Error& error) {
      fail("{}: {}", which, error.what());
    }
  }
}

// The turns before an Alpaca record's own: [instruction, output] pairs. Their outputs are learned from as
// well.
void read_history(const json& history, std::vector<ChatMessage>& messages) {
  const auto is_pair = [](const json& turn) {
    return turn.is_array() && turn.size() == 2 && turn[0].is_string() && turn[1].is_string();
  };
  if (!history.is_array() || !std::ranges::all_of(history, is_pair))
    fail("history: expected a list of [instruction, output] pairs");
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

std::string names_of(const json& object) {
  std::string names;
  for (const auto& item : object.items()) names += (names.empty() ? "" : ", ") + printable(item.key());
  return names.empty() ? "none" : names;
}

// What comes before the output in Alpaca's words. Without system and input, the first are those that the
// template has by itself.
std::vector<ChatMessage> alpaca_messages(Fields& fields, std::string system) {
  std::vector<ChatMessage> messages;
  ChatMessage asked = {"user", required_text(fields, "instruction")};
  const json* input = fields.find_filled("input");
  if (input) asked.content += "\n\n### Input:\n" + text_of(*input, "input");
  if (input && system.empty()) {
    system =
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.";
  }
  if (!system.empty()) messages.push_back({"system", std::move(system)});
  if (const json* history = fields.find_filled_list("history")) read_history(*history, messages);
  messages.push_back(std::move(asked));
  return messages;
}

void add_system(Record& record, std::string system) {
  std::vector<ChatMessage>& messages = record.messages;
  if (messages.empty() || messages[0].role != "system") {
    messages.insert(messages.begin(), {"system", std::move(system)});
  } else if (messages[0].content != system) {
    fail("system: the conversation begins with another system message");
  }
}

// To say nothing is not worth learning: an empty reply is no more than the template's marks around it.
void ignore_empty_replies(std::vector<RecordSpan>& spans) {
  for (size_t begin = 0, end = 0; begin < spans.size(); begin = end + 1) {
    bool is_empty = true;
    for (end = begin; end < spans.size() && spans[end].is_trained; ++end) is_empty &= spans[end].is_template;
    for (size_t i = begin; is_empty && i < end; ++i) spans[i].is_trained = false;
  }
}

}  // namespace

std::string_view record_forms() {
  return kForms;
}

bool are_record_fields(std::span<const std::string> names) {
  const auto has = [&](std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return has("text") || has("messages") || has("conversations") || (has("prompt") && has("completion")) ||
         (has("instruction") && has("output"));
}

Record read_record(const json& object) {
  if (!object.is_object()) fail("expected an object with named fields, found {}", object.type_name());
  Fields fields(object, FieldPlace::record);
  if (fields.is_trained() == false) fail("nothing to train on: the record's weight is 0");
  std::string system = system_of(fields);
  Record record;
  std::string_view no_place_for_system;  // in a record of which form
  const char* chat_key = nullptr;
  for (const char* key : {"conversations", "messages"}) {
    if (object.contains(key) && !object[key].is_null()) chat_key = key;
  }
  if (chat_key) {
    record.is_chat = true;
    read_messages(*fields.find(chat_key), chat_key, record);
    if (!system.empty()) add_system(record, std::move(system));
  } else if (fields.find("prompt") || fields.find("completion")) {
    record.prompt = required_text(fields, "prompt");
    record.completion = required_text(fields, "completion");
    no_place_for_system = "prompt and completion";
  } else if (fields.find("instruction")) {
    record.messages = alpaca_messages(fields, std::move(system));
    record.completion = required_text(fields, "output");
  } else if (fields.find("text")) {
    record.completion = required_text(fields, "text");
    no_place_for_system = "a text";
  } else {
    fail("found the fields {}; expected one of these forms: {}", names_of(object), kForms);
  }
  if (!system.empty() && !no_place_for_system.empty()) {
    fail("system: {} are trained on as they stand, with no place for it; write it into them, or use messages",
         no_place_for_system);
  }
  if (fields.find_filled_list("history") && (record.is_chat || record.messages.empty()))
    fail("history: it belongs beside instruction and output; write the earlier turns as messages");
  fields.add_ignored(record.ignored, "");
  return record;
}

Record parse_record(std::string_view text) {
  if (nests_too_deep(text)) fail("nests more than {} levels deep", kMostJsonLevels);
  json object;
  try {
    object = json::parse(text);
  } catch (const json::parse_error& error) {
    fail("no valid JSON in UTF-8 from its byte {} on", error.byte);
  } catch (const json::out_of_range&) {
    fail("a number too large for a double");
  }
  return read_record(object);
}

std::vector<RecordSpan> record_spans(const Record& record, const ChatTemplate& chat, bool train_on_all) {
  if (!train_on_all && !record.only_with_all.empty()) fail("{}", record.only_with_all);
  std::vector<ChatSpan> spans;
  if (record.is_chat) {
    spans = render_spans(chat, record.messages, false);
  } else if (!record.messages.empty()) {
    spans = render_spans({find_chat_family("alpaca"), chat.bos, chat.eos}, record.messages, true);
  } else if (!record.prompt.empty()) {
    spans.push_back({record.prompt});
  }
  if (!record.completion.empty()) spans.push_back({record.completion, false, true});
  const bool ends_in_reply = record.is_chat
                                 ? !record.messages.empty() && record.messages.back().role == "assistant"
                                 : !record.completion.empty();
  while (ends_in_reply && !spans.empty() && !spans.back().is_reply) spans.pop_back();
  std::vector<RecordSpan> result;
  for (ChatSpan& span : spans) {
    const bool is_trained = (span.is_reply || train_on_all) && !span.is_context;
    result.push_back({std::move(span.text), span.is_template, span.is_reply, is_trained});
  }
  if (!train_on_all) ignore_empty_replies(result);
  while (!result.empty() && !result.back().is_trained) result.pop_back();
  return result;
}

}  // namespace lora
