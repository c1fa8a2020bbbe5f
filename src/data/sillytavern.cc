#include "data/sillytavern.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_depth.h"
#include "data/record_fields.h"
#include "data/text_file.h"

namespace lora {
namespace {

using nlohmann::json;

}  // namespace

bool is_sillytavern(const json& object) {
  const auto has = [&](const char* name) { return object.contains(name) && !object[name].is_null(); };
  return object.is_object() && (has("mes") || has("chat_metadata") || has("character_name"));
}

bool read_sillytavern(const json& object, ChatMessage& message, std::set<std::string>& ignored) {
  if (!is_sillytavern(object)) fail("no line of a SillyTavern chat: it has no mes");
  Fields fields(object, FieldPlace::sillytavern);
  const json *hidden = fields.find("is_system"), *mes = fields.find("mes");
  if (!mes || (hidden && *hidden == true)) return false;
  const json* is_user = fields.find("is_user");
  if (!is_user || !is_user->is_boolean()) fail("is_user: expected true or false");
  if (!mes->is_string()) fail("mes: expected a text, found {}", mes->type_name());
  message = {is_user->get<bool>() ? "user" : "assistant",
             with_unix_newlines(mes->get_ref<const std::string&>())};
  // What it keeps beside a message; of that, what the model saw or said.
  if (const json* extra = fields.find("extra"); extra && extra->is_object()) {
    Fields beside(*extra, FieldPlace::sillytavern);
    for (const char* name : {"reasoning", "image", "file", "tool_invocations"}) {
      if (beside.find_filled(name)) ignored.insert(fmt::format("extra.{}", name));
    }
  }
  fields.add_ignored(ignored, "");
  return true;
}

std::optional<Record> read_sillytavern_chat(std::string_view text, RecordFormat format,
                                            std::vector<std::string>* skipped) {
  if (format == RecordFormat::csv) return std::nullopt;
  RecordCutter cutter(text, format);
  Record chat;
  chat.is_chat = true;
  bool is_first = true;
  for (; const auto raw = cutter.next(); is_first = false) {
    const json object =
        nests_too_deep(raw->text) ? json(json::value_t::discarded) : json::parse(raw->text, nullptr, false);
    if (is_first && !is_sillytavern(object)) return std::nullopt;
    try {
      if (object.is_discarded()) fail("no valid JSON in UTF-8");
      ChatMessage message;
      if (read_sillytavern(object, message, chat.ignored)) chat.messages.push_back(std::move(message));
    } catch (const Error& error) {
      if (!skipped) fail("line {}: {}", raw->line, error.what());
      skipped->push_back(fmt::format("line {}: {}", raw->line, error.what()));
    }
  }
  if (is_first) return std::nullopt;
  return chat;
}

}  // namespace lora
