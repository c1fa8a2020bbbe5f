#include "data/record_fields.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "data/cutter.h"

namespace lora {
namespace {

using json = nlohmann::ordered_json;

constexpr auto kRecord = unsigned(FieldPlace::record), kMessage = unsigned(FieldPlace::message),
               kSillyTavern = unsigned(FieldPlace::sillytavern), kChatGpt = unsigned(FieldPlace::chatgpt);
constexpr const char* kSwitches[] = {"train", "training", "trainable", "loss"};

constexpr std::string_view kOfMessage = "it belongs to a message of a conversation",
                           kResponses = "what a tool gave back is a message of the role tool",
                           kDocuments = "documents that a template is to write are not handed to it",
                           kMedia = "only text can be trained on",
                           kPreference =
                               "replies that are better or worse than others are not learned from here",
                           kMask = "what is trained on is said by the weight of a message, 0 or 1, alone",
                           kTemplate = "the template of all records is that of --chat-template";

enum class Refused { filled, boolean, numbers };  // with which values

// Fields with a meaning that is not followed here (why), or that mean nothing to what is learned ("").
// Sources: the chat formats of OpenAI, Mistral, Anthropic, Qwen and ShareGPT; the data formats of TRL,
// axolotl, LLaMA-Factory, ms-swift and NeMo; SillyTavern's chat files.
struct FieldRow {
  std::string_view name;
  unsigned places;
  std::string_view why;
  Refused when = Refused::filled;
};
constexpr FieldRow kRows[] = {
    {"tool_calls", kRecord, kOfMessage},
    {"tool_call_id", kRecord, kOfMessage},
    {"function_call", kRecord, kOfMessage},
    {"tool_responses", kRecord | kMessage, kResponses},
    {"documents", kRecord | kMessage, kDocuments},
    {"image", kRecord | kMessage, kMedia},
    {"images", kRecord | kMessage, kMedia},
    {"video", kRecord | kMessage, kMedia},
    {"videos", kRecord | kMessage, kMedia},
    {"audio", kRecord | kMessage, kMedia},
    {"audios", kRecord | kMessage, kMedia},
    {"chosen", kRecord, kPreference},
    {"rejected", kRecord, kPreference},
    {"rejected_response", kRecord, kPreference},
    {"rejected_messages", kRecord, kPreference},
    {"preferred_output", kRecord, kPreference},
    {"non_preferred_output", kRecord, kPreference},
    {"kto_tag", kRecord, kPreference},
    {"label", kRecord | kMessage, kPreference, Refused::boolean},
    {"labels", kRecord, kMask, Refused::numbers},
    {"mask", kRecord | kMessage, kMask},
    {"loss_mask", kRecord | kMessage, kMask},
    {"loss_scale", kRecord | kMessage, kMask},
    {"loss_weight", kRecord | kMessage, kMask},
    {"loss_weights", kRecord, kMask},
    {"sample_weight", kRecord, kMask},
    {"assistant_masks", kRecord, kMask},
    {"train_detail", kRecord | kMessage, kMask},
    {"training_detail", kRecord | kMessage, kMask},
    {"chat_template", kRecord, kTemplate},
    {"chat_template_kwargs", kRecord, kTemplate},
    {"instruction_template", kRecord, kTemplate},
    {"template", kRecord, kTemplate},
    {"name", kSillyTavern, ""},
    {"is_name", kSillyTavern, ""},
    {"send_date", kSillyTavern, ""},
    {"gen_started", kSillyTavern, ""},
    {"gen_finished", kSillyTavern, ""},
    {"gen_id", kSillyTavern, ""},
    {"swipes", kSillyTavern, ""},
    {"swipe_id", kSillyTavern, ""},
    {"swipe_info", kSillyTavern, ""},
    {"force_avatar", kSillyTavern, ""},
    {"original_avatar", kSillyTavern, ""},
    {"api", kSillyTavern, ""},
    {"model", kSillyTavern, ""},
    {"title", kSillyTavern | kChatGpt, ""},
    {"variables", kSillyTavern, ""},
    {"user_name", kSillyTavern, ""},
    {"character_name", kSillyTavern, ""},
    {"create_date", kSillyTavern, ""},
    {"chat_metadata", kSillyTavern, ""},
    {"id", kChatGpt, ""},
    {"conversation_id", kChatGpt, ""},
    {"create_time", kChatGpt, ""},
    {"update_time", kChatGpt, ""},
    {"moderation_results", kChatGpt, ""},
    {"conversation_template_id", kChatGpt, ""},
    {"gizmo_id", kChatGpt, ""},
    {"gizmo_type", kChatGpt, ""},
    {"is_archived", kChatGpt, ""},
    {"is_starred", kChatGpt, ""},
    {"is_study_mode", kChatGpt, ""},
    {"is_do_not_remember", kChatGpt, ""},
    {"safe_urls", kChatGpt, ""},
    {"blocked_urls", kChatGpt, ""},
    {"default_model_slug", kChatGpt, ""},
    {"plugin_ids", kChatGpt, ""},
    {"disabled_tool_ids", kChatGpt, ""},
    {"async_status", kChatGpt, ""},
    {"voice", kChatGpt, ""},
    {"conversation_origin", kChatGpt, ""},
    {"memory_scope", kChatGpt, ""},
    {"context_scopes", kChatGpt, ""},
    {"sugar_item_id", kChatGpt, ""},
    {"sugar_item_visible", kChatGpt, ""},
    {"pinned_time", kChatGpt, ""},
    {"owner", kChatGpt, ""},
};

const FieldRow* find_row(std::string_view name, FieldPlace place) {
  const auto* row = std::ranges::find_if(
      kRows, [&](const FieldRow& r) { return r.name == name && (r.places & unsigned(place)); });
  return row == std::end(kRows) ? nullptr : row;
}

// A list of nothing as a text, which is all that a .csv has, and how many data sets keep lists.
bool is_written_nothing(const json& value) {
  return value == "[]" || value == "{}" || value == "null" || value == "None";
}

// A .csv has only texts, which Python writes in its own words.
std::optional<bool> as_switch(const json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value == 1) return true;
  if (value == 0) return false;
  for (const char* word : {"1", "1.0", "true", "True", "TRUE"}) {
    if (value == word) return true;
  }
  for (const char* word : {"0", "0.0", "false", "False", "FALSE"}) {
    if (value == word) return false;
  }
  return std::nullopt;
}

bool is_refused(const json& value, Refused when) {
  if (!is_filled(value) || is_written_nothing(value)) return false;
  if (when == Refused::boolean) return !value.is_number() && value != "0" && value != "1" && as_switch(value);
  return when == Refused::filled || (value.is_array() && value.front().is_number());
}

}  // namespace

bool is_filled(const json& value) {
  if (const auto* text = value.get_ptr<const std::string*>()) return !is_blank(*text);
  return !value.is_null() && !(value.is_structured() && value.empty());
}

Fields::Fields(const json& object, FieldPlace place) : object_(object), place_(place) {
  for (const auto& item : object.items()) {
    const FieldRow* row = find_row(item.key(), place);
    if (row && !row->why.empty() && is_refused(item.value(), row->when)) {
      fail("{}: {}; take the field out to train on the rest", row->name, row->why);
    }
  }
}

const json* Fields::find(std::string_view name) {
  const auto it = object_.find(std::string(name));
  if (it == object_.end()) return nullptr;
  read_.push_back(name);
  return it->is_null() ? nullptr : &*it;
}

const json* Fields::find_filled(std::string_view name) {
  const json* value = find(name);
  return value && is_filled(*value) ? value : nullptr;
}

const json* Fields::find_filled_list(std::string_view name) {
  const json* value = find_filled(name);
  return value && is_written_nothing(*value) ? nullptr : value;
}

bool Fields::was_read(std::string_view name) const {
  return std::ranges::find(read_, name) != read_.end();
}

void Fields::add_ignored(std::set<std::string>& names, std::string_view prefix) const {
  for (const auto& item : object_.items()) {
    const FieldRow* row = find_row(item.key(), place_);
    const bool is_expected = row && row->why.empty();
    if (is_expected || was_read(item.key()) || !is_filled(item.value())) continue;
    names.insert(std::string(prefix) + printable(item.key()));
  }
}

// Of a record, loss is a number that somebody measured; of a message, ms-swift's switch.
std::optional<bool> Fields::is_trained() {
  std::optional<bool> trained;
  const char* said_by = nullptr;
  const auto look_at = [&](const char* name) {
    const json* value = find_filled(name);
    if (!value) return;
    const std::optional<bool> says = as_switch(*value);
    if (!says) {
      fail("{}: expected 1 or true, or 0 or false for what is not trained on; found {}", name,
           printable(value->dump(-1, ' ', false, json::error_handler_t::replace), 30));
    }
    if (trained && *trained != *says) {
      fail("{} and {}: one says to train on it, the other not to", said_by, name);
    }
    trained = says;
    said_by = name;
  };
  look_at("weight");
  for (const char* name : switches()) look_at(name);
  return trained;
}

bool Fields::asks_to_be_trained() {
  return std::ranges::any_of(switches(), [&](const char* name) {
    const json* value = find_filled(name);
    return value && as_switch(*value) == true;
  });
}

std::span<const char* const> Fields::switches() const {
  return std::span(kSwitches).first(place_ == FieldPlace::message ? 4 : 3);
}

}  // namespace lora
