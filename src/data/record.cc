#include "data/record.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/json_depth.h"
#include "base/printable.h"
#include "data/text_file.h"

namespace lora {
namespace {

using nlohmann::json;

constexpr std::string_view kForms =
    "text; prompt and completion; instruction and output; messages; conversations";

// What people and programs call the three roles.
struct RoleName {
  std::string_view name;
  ChatRole role;
};
constexpr RoleName kRoles[] = {
    {"system", ChatRole::system},     {"developer", ChatRole::system},    {"user", ChatRole::user},
    {"human", ChatRole::user},        {"assistant", ChatRole::assistant}, {"gpt", ChatRole::assistant},
    {"chatgpt", ChatRole::assistant}, {"bot", ChatRole::assistant},       {"model", ChatRole::assistant},
};

// The value of a key, nullptr if there is none or it is null.
const json* find(const json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::string text_of(const json& value, std::string_view what) {
  if (!value.is_string()) fail("{}: expected a text, found {}", what, value.type_name());
  return with_unix_newlines(value.get_ref<const std::string&>());
}

std::string required_text(const json& object, const char* key) {
  const json* value = find(object, key);
  if (!value) fail("{}: missing", key);
  return text_of(*value, key);
}

// Text, or a list of parts of which those of type "text" have one.
std::string content_of(const json& value, std::string_view what) {
  if (!value.is_array()) return text_of(value, what);
  std::string content;
  for (const json& part : value) {
    const json* text = part.is_object() ? find(part, "text") : nullptr;
    if (!text) fail("{}: a part that is no text", what);
    content += text_of(*text, what);
  }
  return content;
}

ChatRole role_of(const std::string& name) {
  for (const RoleName& row : kRoles) {
    if (row.name == name) return row.role;
  }
  std::string known;
  for (const RoleName& row : kRoles) known += (known.empty() ? "" : ", ") + std::string(row.name);
  fail("unknown role \"{}\"; known are {}", printable(name), known);
}

std::vector<ChatMessage> messages_of(const json& list, std::string_view key) {
  if (!list.is_array()) fail("{}: expected a list, found {}", key, list.type_name());
  std::vector<ChatMessage> messages;
  for (const json& item : list) {
    const std::string which = fmt::format("{}[{}]", key, messages.size());
    if (!item.is_object()) fail("{}: expected an object, found {}", which, item.type_name());
    const json* role = find(item, "role");
    if (!role) role = find(item, "from");
    const json* content = find(item, "content");
    if (!content) content = find(item, "value");
    if (!role) fail("{}: no role or from", which);
    if (!content) fail("{}: no content or value", which);
    messages.push_back({role_of(text_of(*role, which)), content_of(*content, which)});
  }
  return messages;
}

std::string names_of(const json& object) {
  std::string names;
  for (const auto& item : object.items()) names += (names.empty() ? "" : ", ") + printable(item.key());
  return names.empty() ? "none" : names;
}

// Alpaca's prompt. Without an input its first words are those that the template has by itself.
std::string alpaca_prompt(const std::string& instruction, const std::string& input) {
  std::vector<ChatMessage> messages = {{ChatRole::user, instruction}};
  if (!input.empty()) {
    messages[0].content += "\n\n### Input:\n" + input;
    messages.insert(messages.begin(),
                    {ChatRole::system,
                     "Below is an instruction that describes a task, paired with an input that provides "
                     "further context. Write a response that appropriately completes the request."});
  }
  return render({find_chat_family("alpaca"), "", ""}, messages, true);
}

// To say nothing is not worth learning: an empty reply is no more than the template's marks around it.
void ignore_empty_replies(std::vector<ChatSpan>& spans) {
  for (size_t begin = 0, end = 0; begin < spans.size(); begin = end + 1) {
    bool is_empty = true;
    for (end = begin; end < spans.size() && spans[end].is_reply; ++end) is_empty &= spans[end].is_template;
    for (size_t i = begin; is_empty && i < end; ++i) spans[i].is_reply = false;
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
  Record record;
  for (const char* key : {"messages", "conversations"}) {
    const json* list = find(object, key);
    if (!list) continue;
    record.is_chat = true;
    record.messages = messages_of(*list, key);
    return record;
  }
  if (find(object, "prompt") || find(object, "completion")) {
    record.prompt = required_text(object, "prompt");
    record.completion = required_text(object, "completion");
  } else if (find(object, "instruction")) {
    const json* input = find(object, "input");
    record.prompt =
        alpaca_prompt(required_text(object, "instruction"), input ? text_of(*input, "input") : "");
    record.completion = required_text(object, "output");
  } else if (find(object, "text")) {
    record.completion = required_text(object, "text");
  } else {
    fail("found the fields {}; expected one of these forms: {}", names_of(object), kForms);
  }
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

bool is_sillytavern(const json& object) {
  return object.is_object() &&
         (find(object, "mes") || find(object, "chat_metadata") || find(object, "character_name"));
}

bool read_sillytavern(const json& object, ChatMessage& message) {
  if (!is_sillytavern(object)) fail("no line of a SillyTavern chat: it has no mes");
  const json* hidden = find(object, "is_system");
  if (!find(object, "mes") || (hidden && *hidden == true)) return false;
  const json* is_user = find(object, "is_user");
  if (!is_user || !is_user->is_boolean()) fail("is_user: expected true or false");
  message = {is_user->get<bool>() ? ChatRole::user : ChatRole::assistant, required_text(object, "mes")};
  return true;
}

std::vector<ChatSpan> record_spans(const Record& record, const ChatTemplate& chat, bool train_on_all) {
  std::vector<ChatSpan> spans;
  if (record.is_chat) {
    spans = render_spans(chat, record.messages, false);
    if (!train_on_all) ignore_empty_replies(spans);
  } else {
    if (!record.prompt.empty()) spans.push_back({record.prompt, false, false});
    if (!record.completion.empty()) spans.push_back({record.completion, false, true});
  }
  const bool ends_in_reply =
      record.is_chat ? !record.messages.empty() && record.messages.back().role == ChatRole::assistant
                     : !record.completion.empty();
  if (!train_on_all || ends_in_reply) {
    while (!spans.empty() && !spans.back().is_reply) spans.pop_back();
  }
  for (ChatSpan& span : spans) span.is_reply |= train_on_all;
  return spans;
}

}  // namespace lora
