#include "data/record_messages.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "data/cutter.h"
#include "data/record.h"
#include "data/record_json.h"
#include "data/text_file.h"

namespace lora {
namespace {

using json = nlohmann::ordered_json;

// What people and programs call the roles. Few templates know a developer, and those that do write him down
// as the system.
struct RoleName {
  std::string_view name, role;
  bool is_call = false;  // its content is the calls
};
constexpr RoleName kRoles[] = {
    {"system", "system"},
    {"developer", "system"},
    {"user", "user"},
    {"human", "user"},
    {"assistant", "assistant"},
    {"gpt", "assistant"},
    {"chatgpt", "assistant"},
    {"bot", "assistant"},
    {"model", "assistant"},
    {"tool", "tool"},
    {"function", "tool"},
    {"observation", "tool"},
    {"ipython", "tool"},
    {"tool_response", "tool"},
    {"function_call", "assistant", true},
    {"tool_call", "assistant", true},
};

const RoleName& role_of(const std::string& name) {
  const auto* row = std::ranges::find(kRoles, std::string_view(name), &RoleName::name);
  if (row != std::end(kRoles)) return *row;
  std::string known;
  for (const RoleName& r : kRoles) known += (known.empty() ? "" : ", ") + std::string(r.name);
  fail("unknown role \"{}\"; known are {}", printable(name), known);
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

// Adds a content, or the parts of one, to `text`. Parts that are thoughts, which come first, go to
// `thoughts`; where that is nullptr there must be none.
void add_content(const json& value, std::string_view what, std::string& text, std::string* thoughts) {
  if (!value.is_array()) {
    text += text_of(value, what);
    return;
  }
  for (const json& part : value) {
    if (!part.is_object()) fail("{}: a part that is no text", what);
    const auto type = part.find("type");
    const std::string kind = type != part.end() && type->is_string() ? type->get<std::string>() : "text";
    auto content = part.find("text");
    if (thoughts && is_one_of(kind, {"thinking", "reasoning"})) {
      if (!is_blank(text)) fail("{}: thoughts behind a text; templates write them before it", what);
      if (part.contains(kind)) content = part.find(kind);
      if (content == part.end()) fail("{}: a part of type \"{}\" without thoughts", what, kind);
      add_content(*content, what, *thoughts, nullptr);
      continue;
    }
    if (!is_one_of(kind, {"text", "input_text", "output_text"}))
      fail("{}: a part of type \"{}\"; only text can be trained on", what, printable(kind));
    if (content == part.end()) fail("{}: a part that is no text", what);
    text += text_of(*content, what);
  }
}

void set_thoughts(ChatMessage& message, std::string_view name, std::string thoughts) {
  if (is_blank(thoughts)) return;
  if (message.role != "assistant") fail("{}: only the assistant's messages have thoughts", name);
  json& known = message.more["reasoning_content"];
  if (!known.is_null() && known != thoughts) fail("{}: it has other thoughts, too", name);
  known = std::move(thoughts);
}

const json& required(Fields& fields, std::string_view name) {
  const json* value = fields.find(name);
  if (!value) fail("{}: missing", name);
  return *value;
}

// {"name", "arguments"}, the latter an object.
json function_of(Fields& fields) {
  json function = {{"name", text_of(required(fields, "name"), "name")}, {"arguments", json::object()}};
  const json* arguments = fields.find_filled_list("arguments");
  if (!arguments) arguments = fields.find_filled_list("parameters");
  json parsed;
  if (arguments) function["arguments"] = object_of(*arguments, "arguments", parsed);
  return function;
}

// A call as templates read it, whether or not {"type": "function", "function": ...} is around it.
json call_of(const json& value, std::string_view which, std::set<std::string>& ignored) {
  json parsed;
  Fields fields(object_of(value, "the call", parsed), FieldPlace::call);
  json call = json::object();
  if (const json* id = fields.find_filled("id")) call["id"] = text_of(*id, "id");
  if (const json* type = fields.find("type"); type && *type != "function") {
    fail("type: expected function, found {}",
         printable(type->dump(-1, ' ', false, json::error_handler_t::replace), 30));
  }
  call["type"] = "function";
  if (const json* function = fields.find("function")) {
    json parsed_function;
    Fields inner(object_of(*function, "function", parsed_function), FieldPlace::call);
    call["function"] = function_of(inner);
    inner.add_ignored(ignored, fmt::format("{}[].function.", which));
  } else {
    call["function"] = function_of(fields);
  }
  fields.add_ignored(ignored, fmt::format("{}[].", which));
  return call;
}

// Calls as a list or as one, written down or as JSON text.
json calls_of(const json& value, std::string_view name, std::string_view prefix,
              std::set<std::string>& ignored) {
  json parsed;
  const bool is_one = value.is_object() ||
                      (value.is_string() && value.get_ref<const std::string&>().find_first_not_of(
                                                " \t\r\n") == value.get_ref<const std::string&>().find('{'));
  json calls = json::array();
  const auto add = [&](const json& call) {
    try {
      calls.push_back(call_of(call, fmt::format("{}{}", prefix, name), ignored));
    } catch (const Error& error) {
      fail("{}[{}]: {}", name, calls.size(), error.what());
    }
  };
  if (is_one) {
    add(value);
  } else {
    for (const json& call : list_of(value, name, parsed)) add(call);
  }
  if (calls.empty()) fail("{}: no call", name);
  return calls;
}

// {"type": "function", "function": {...}}, as programs that serve models give it to templates.
json tool_of(const json& value) {
  json parsed;
  const json& tool = object_of(value, "the tool", parsed);
  const bool is_wrapped = tool.contains("function");
  json parsed_function;
  const json& function = is_wrapped ? object_of(tool["function"], "function", parsed_function) : tool;
  const auto name = function.find("name");
  if (name == function.end() || !name->is_string()) fail("expected a function with a name");
  if (!is_wrapped) return {{"type", "function"}, {"function", tool}};
  json result = tool;
  result["function"] = function;
  return result;
}

json tools_of(const json& value, std::string_view name) {
  json parsed, tools = json::array();
  for (const json& tool : list_of(value, name, parsed)) {
    try {
      tools.push_back(tool_of(tool));
    } catch (const Error& error) {
      fail("{}[{}]: {}", name, tools.size(), error.what());
    }
  }
  return tools.empty() ? json() : tools;
}

void read_calls(Fields& fields, const std::string& prefix, ChatMessage& message,
                std::set<std::string>& ignored) {
  for (const char* name : {"tool_calls", "function_call"}) {
    const json* value = fields.find_filled_list(name);
    if (!value) continue;
    if (message.role != "assistant") fail("{}: only the assistant calls tools", name);
    json& calls = message.more["tool_calls"];
    if (!calls.is_null()) fail("{}: it has other calls, too", name);
    calls = calls_of(*value, name, prefix, ignored);
  }
}

// Which call a tool's message answers, and which tool it is.
void read_answered_call(Fields& fields, ChatMessage& message) {
  if (message.role != "tool") return;
  for (const char* name : {"tool_call_id", "name"}) {
    if (const json* value = fields.find_filled(name)) message.more[name] = text_of(*value, name);
  }
}

const json* find_either(Fields& fields, const char* name, const char* other) {
  const json* value = fields.find(name);
  return value ? value : fields.find(other);
}

// Of a list called prompt, no reply is trained on.
ChatMessage message_of(const json& item, std::string_view which, Record& record) {
  if (!item.is_object()) fail("expected an object, found {}", item.type_name());
  Fields fields(item, FieldPlace::message);
  const std::string prefix = fmt::format("{}[].", which.substr(0, which.find('[')));
  const json* role_name = find_either(fields, "role", "from");
  const json* content = find_either(fields, "content", "value");
  if (!role_name) fail("no role or from");
  const RoleName& role = role_of(text_of(*role_name, "role"));
  ChatMessage message;
  message.role = role.role;
  read_calls(fields, prefix, message, record.ignored);
  read_answered_call(fields, message);
  read_thoughts(fields, message);
  read_tools(fields, *record.chat);
  const bool has_calls = message.more.contains("tool_calls");
  if (!content && !has_calls) fail("no content or value");
  if (role.is_call && content) {
    if (has_calls) fail("{}: it has other calls, too", role.name);
    message.more["tool_calls"] = calls_of(*content, role.name, prefix, record.ignored);
  } else if (content) {
    std::string thoughts;
    add_content(*content, "content", message.content, message.role == "assistant" ? &thoughts : nullptr);
    set_thoughts(message, "content", std::move(thoughts));
  }
  message.is_context = fields.is_trained() == false;
  if (message.role == "assistant" && prefix == "prompt[].") {
    if (fields.asks_to_be_trained()) fail("it asks to be trained on, but belongs to the prompt");
    message.is_context = true;
  }
  if (message.role != "assistant" && fields.asks_to_be_trained()) {
    record.only_with_all = fmt::format(
        "{}: it asks to be trained on but is no reply; --train-on all trains on it, and on all others",
        which);
  }
  fields.add_ignored(record.ignored, prefix);
  return message;
}

}  // namespace

std::string text_of(const json& value, std::string_view what) {
  if (!value.is_string()) fail("{}: expected a text, found {}", what, value.type_name());
  return with_unix_newlines(value.get_ref<const std::string&>());
}

std::string content_of(const json& value, std::string_view what) {
  std::string content;
  add_content(value, what, content, nullptr);
  return content;
}

void read_messages(const json& value, std::string_view name, Record& record) {
  json parsed;
  size_t i = 0;
  for (const json& item : list_of(value, name, parsed)) {
    const std::string which = fmt::format("{}[{}]", name, i++);
    try {
      record.chat->messages.push_back(message_of(item, which, record));
    } catch (const Error& error) {
      fail("{}: {}", which, error.what());
    }
  }
}

void read_tools(Fields& fields, Conversation& chat) {
  for (const char* name : {"tools", "functions"}) {
    const json* value = fields.find_filled_list(name);
    if (!value) continue;
    json tools = tools_of(*value, name);
    if (!chat.tools.is_null() && chat.tools != tools) fail("{}: the conversation has other tools, too", name);
    chat.tools = std::move(tools);
  }
}

void read_thoughts(Fields& fields, ChatMessage& message) {
  for (const char* name : {"reasoning_content", "reasoning", "thinking"}) {
    if (const json* value = fields.find_filled(name)) set_thoughts(message, name, text_of(*value, name));
  }
}

}  // namespace lora
