#include "data/chatgpt.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "data/cutter.h"
#include "data/record.h"
#include "data/record_json.h"
#include "data/record_messages.h"

namespace lora {
namespace {

using json = nlohmann::ordered_json;

// What the program keeps beside what was said. The model's thoughts are a summary of them.
struct LeftOutRow {
  std::string_view content_type, name;
};
constexpr LeftOutRow kLeftOut[] = {
    {"user_editable_context", "custom instructions"},
    {"model_editable_context", "memory"},
    {"thoughts", "summaries of thoughts"},
    {"reasoning_recap", "summaries of thoughts"},
};

// nullptr where there is none, or null.
const json* find(const json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto value = object.find(name);
  return value == object.end() || value->is_null() ? nullptr : &*value;
}

std::string text_in(const json& object, const char* name) {
  const json* value = find(object, name);
  return value ? text_of(*value, name) : std::string();
}

// The nodes of the branch that is shown, from the root on.
std::vector<std::string> shown_branch(const json& mapping, const std::string& current) {
  std::vector<std::string> ids;
  for (std::string id = current; !id.empty();) {
    const auto node = mapping.find(id);
    if (node == mapping.end()) fail("mapping: there is no node {}", printable(id, 40));
    if (ids.size() >= mapping.size()) fail("mapping: its nodes go in a circle");
    ids.push_back(id);
    id = text_in(*node, "parent");
  }
  std::ranges::reverse(ids);
  return ids;
}

// The one node that has no other behind it.
std::string only_leaf(const json& mapping) {
  std::string leaf;
  for (const auto& [id, node] : mapping.items()) {
    const json* children = find(node, "children");
    if (children && !children->empty()) continue;
    if (!leaf.empty()) fail("current_node: missing, and mapping has several branches");
    leaf = id;
  }
  if (leaf.empty()) fail("mapping: it has no end");
  return leaf;
}

std::string parts_of(const json& content, const std::string& type) {
  const json* parts = find(content, "parts");
  if (!parts || !parts->is_array()) fail("content.parts: missing");
  std::string text;
  for (const json& part : *parts) {
    if (part.is_string()) {
      text += text_of(part, "content.parts");
      continue;
    }
    const std::string kind = text_in(part, "content_type");
    fail("content: a part of type {}; only text can be trained on",
         printable(kind.empty() ? type : kind, 40));
  }
  return text;
}

bool is_hidden(const json& message) {
  const json* metadata = find(message, "metadata");
  const json* hidden = metadata ? find(*metadata, "is_visually_hidden_from_conversation") : nullptr;
  return hidden && *hidden == true;
}

void add_message(const json& message, Record& record) {
  const json *author = find(message, "author"), *content = find(message, "content");
  if (!author || !content) fail("expected a message with author and content");
  const std::string role = text_in(*author, "role"), type = text_in(*content, "content_type");
  const auto leave_out = [&](std::string_view what) {
    record.ignored.insert(fmt::format("mapping[] ({})", what));
  };
  for (const LeftOutRow& row : kLeftOut) {
    if (type == row.content_type) return leave_out(row.name);
  }
  if (role == "tool") fail("a tool's message; what tools gave back cannot be read from ChatGPT's export");
  if (role != "system" && role != "user" && role != "assistant")
    fail("author.role: expected system, user, assistant or tool, found {}", printable(role, 40));
  const std::string recipient = text_in(message, "recipient");
  if (!recipient.empty() && recipient != "all")
    fail("a call of the tool {}; calls cannot be read from ChatGPT's export", printable(recipient, 40));
  if (type != "text" && type != "multimodal_text")
    fail("content.content_type: {}; only text can be trained on", printable(type, 40));
  const std::string text = parts_of(*content, type);
  if (is_blank(text) && role != "user") return;
  if (is_hidden(message)) return leave_out("hidden messages");
  ChatMessage said = {role, text};
  if (const json* weight = find(message, "weight"); weight && *weight == 0) said.is_context = true;
  record.chat->messages.push_back(std::move(said));
}

}  // namespace

void read_chatgpt(Fields& fields, Record& record) {
  record.chat.emplace();
  record.splits_between_turns = true;
  json parsed;
  const json& mapping = object_of(*fields.find("mapping"), "mapping", parsed);
  const json* current = fields.find_filled("current_node");
  const std::vector<std::string> branch =
      shown_branch(mapping, current ? text_of(*current, "current_node") : only_leaf(mapping));
  for (const std::string& id : branch) {
    const json* message = find(mapping[id], "message");
    if (!message) continue;
    try {
      add_message(*message, record);
    } catch (const Error& error) {
      fail("mapping.{}: {}", printable(id, 40), error.what());
    }
  }
  const auto is_said = [](const json& node) { return find(node, "message") != nullptr; };
  const auto n_shown = std::ranges::count_if(branch, [&](const auto& id) { return is_said(mapping[id]); });
  if (std::ranges::count_if(mapping, is_said) > n_shown) record.ignored.insert("mapping[] (other branches)");
}

}  // namespace lora
