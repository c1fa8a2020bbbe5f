#include "data/sillytavern.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/plural.h"
#include "base/printable.h"
#include "data/cutter.h"
#include "data/record.h"
#include "data/record_fields.h"
#include "data/record_file.h"
#include "data/record_json.h"
#include "data/text_file.h"

namespace lora {
namespace {

using json = nlohmann::ordered_json;

// What the model has read or said beside a message's text.
struct RefusedRow {
  const char *name, *why;
};
constexpr const char *kPicture =
                         "only text can be trained on; take the field out to train on the message without it",
                     *kFile =
                         "SillyTavern put the file's text before the message, which the chat does not hold; "
                         "write it into mes, or take the field out to train without it",
                     *kTools =
                         "calls of tools cannot be read from a chat; take the line out to train on the rest";
constexpr RefusedRow kRefused[] = {
    {"image", kPicture}, {"images", kPicture},         {"image_swipes", kPicture}, {"media", kPicture},
    {"video", kPicture}, {"videos", kPicture},         {"audio", kPicture},        {"file", kFile},
    {"files", kFile},    {"tool_invocations", kTools},
};

// Chats of programs from which SillyTavern imports them.
struct OtherRow {
  const char* program;
  bool (*made)(const json& object);
};
bool has(const json& object, const char* name);
constexpr OtherRow kOthers[] = {
    {"KoboldAI or KoboldCpp", [](const json& o) { return has(o, "gamestarted") && has(o, "actions"); }},
    {"Character.AI", [](const json& o) { return has(o, "histories"); }},
    {"Agnai",
     [](const json& o) {
       return has(o, "messages") && o["messages"].is_array() && !o["messages"].empty() &&
              has(o["messages"][0], "msg");
     }},
    {"RisuAI", [](const json& o) { return has(o, "type") && o["type"] == "risuChat"; }},
};

struct Line {
  std::string name;
  ChatMessage message;
  int64_t number = 0;  // of the line, from 1
};

// A file as it stands.
struct Chat {
  std::string user, character;                       // "" where it does not say
  std::string scenario, system_prompt, mes_example;  // in place of the card's
  std::vector<Line> lines;
  std::set<std::string> ignored;
  int64_t n_hidden = 0;
};

bool has(const json& object, const char* name) {
  return object.is_object() && object.contains(name) && !object[name].is_null();
}

// "" if there is none.
std::string text_at(const json& object, const char* name) {
  if (!has(object, name)) return "";
  if (!object[name].is_string()) fail("{}: expected a text, found {}", name, object[name].type_name());
  return with_unix_newlines(object[name].get_ref<const std::string&>());
}

// Newer versions write a header for older ones, which says nothing.
std::string header_name(const json& header, const char* name) {
  std::string text = text_at(header, name);
  return text == "unused" ? "" : text;
}

bool is_sillytavern(const json& object) {
  return has(object, "mes") || has(object, "chat_metadata") || has(object, "character_name");
}

// Records may carry a character's name beside what they say.
bool is_record(const json& object) {
  std::vector<std::string> names;
  for (const auto& item : object.items()) names.push_back(item.key());
  return object.is_object() && are_record_fields(names);
}

void read_header(const json& header, Chat& chat) {
  const auto read_name = [&](const char* field, std::string& name) {
    if (std::string text = header_name(header, field); !text.empty()) name = std::move(text);
  };
  read_name("user_name", chat.user);
  read_name("character_name", chat.character);
  if (!has(header, "chat_metadata")) return;
  const json& own = header["chat_metadata"];
  chat.scenario = text_at(own, "scenario");
  chat.system_prompt = text_at(own, "system_prompt");
  chat.mes_example = text_at(own, "mes_example");
  if (!is_blank(text_at(own, "note_prompt"))) chat.ignored.insert("chat_metadata.note_prompt");
}

void refuse_beside(const json& extra, bool is_hidden) {
  for (const RefusedRow& row : kRefused) {
    // Of hidden lines the model has seen the calls of tools alone.
    if (is_hidden && row.why != kTools) continue;
    if (has(extra, row.name) && is_filled(extra[row.name])) fail("extra.{}: {}", row.name, row.why);
  }
}

void read_line(const json& object, int64_t number, Chat& chat) {
  if (!is_sillytavern(object)) fail("no line of a SillyTavern chat: it has no mes");
  if (!has(object, "mes")) return read_header(object, chat);
  Fields fields(object, FieldPlace::sillytavern);
  const json *hidden = fields.find("is_system"), *extra = fields.find("extra");
  const bool is_hidden = hidden && *hidden == true;
  if (extra) refuse_beside(*extra, is_hidden);
  if (is_hidden) {
    ++chat.n_hidden;
    return;
  }
  const json* is_user = fields.find("is_user");
  if (!is_user || !is_user->is_boolean()) fail("is_user: expected true or false");
  fields.find("mes");
  Line line{
      text_at(object, "name"), {*is_user == true ? "user" : "assistant", text_at(object, "mes")}, number};
  if (extra && has(*extra, "type") && (*extra)["type"] == "narrator") line.message.role = "system";
  if (extra && line.message.role == "assistant") {
    if (const std::string thoughts = text_at(*extra, "reasoning"); !is_blank(thoughts))
      line.message.more = {{"reasoning_content", thoughts}};
  }
  fields.add_ignored(chat.ignored, "");
  chat.lines.push_back(std::move(line));
}

const json* webui_log(const json& object) {
  for (const auto& [log, visible] : {std::pair("internal", "visible"), std::pair("data", "data_visible")}) {
    if (has(object, log) && has(object, visible) && object[log].is_array()) return &object[log];
  }
  return nullptr;
}

void refuse_attachments(const json& object) {
  if (!has(object, "metadata") || !object["metadata"].is_object()) return;
  for (const auto& [name, value] : object["metadata"].items()) {
    if (has(value, "attachments") && is_filled(value["attachments"]))
      fail("metadata.{}.attachments: only text can be trained on; take the field out to train without it",
           printable(name));
  }
}

// A turn that the assistant begins has this, or nothing, in the user's place.
constexpr std::string_view kNobody = "<|BEGIN-VISIBLE-CHAT|>";

void read_webui_log(const json& object, const json& log, int64_t number, Chat& chat) {
  refuse_attachments(object);
  for (const json& turn : log) {
    if (!turn.is_array() || turn.size() != 2 || !turn[0].is_string() || !turn[1].is_string())
      fail("internal: expected a list of [user's, assistant's] texts");
    const auto add = [&](const char* role, const json& text) {
      std::string content = with_unix_newlines(text.get_ref<const std::string&>());
      if (!content.empty() && content != kNobody)
        chat.lines.push_back({"", {role, std::move(content)}, number});
    };
    add("user", turn[0]);
    add("assistant", turn[1]);
  }
}

void refuse_others(const json& object) {
  for (const OtherRow& row : kOthers) {
    if (!row.made(object)) continue;
    fail(
        "a chat of {}, which is not read; import it in SillyTavern and take the .jsonl that it keeps, or "
        "write "
        "it as messages",
        row.program);
  }
}

// Runs step(); what is wrong is of that line.
template <class Step>
void of_line(int64_t number, std::vector<std::string>* skipped, const Step& step) {
  try {
    step();
  } catch (const Error& error) {
    if (!skipped) fail("line {}: {}", number, error.what());
    skipped->push_back(fmt::format("line {}: {}", number, error.what()));
  }
}

std::optional<Chat> read_chat(std::string_view text, RecordFormat format, std::vector<std::string>* skipped) {
  if (format == RecordFormat::csv) return std::nullopt;
  RecordCutter cutter(text, format);
  Chat chat;
  bool is_first = true, is_webui = false;
  // What cannot be cut is for those to say who read records.
  const auto next = [&]() -> std::optional<RawRecord> {
    try {
      return cutter.next();
    } catch (const Error&) {
      if (!is_first) throw;
      return std::nullopt;
    }
  };
  for (; const auto raw = next(); is_first = false) {
    json object(json::value_t::discarded);
    std::string why_not;
    try {
      object = parse_json(raw->text);
    } catch (const Error& error) {
      why_not = error.what();
    }
    if (is_first) {
      const json* log = webui_log(object);
      is_webui = log != nullptr;
      if (log) of_line(raw->line, nullptr, [&] { read_webui_log(object, *log, raw->line, chat); });
      if (!log && (is_record(object) || !is_sillytavern(object))) {
        of_line(raw->line, nullptr, [&] { refuse_others(object); });
        return std::nullopt;
      }
      if (log) continue;
    }
    of_line(raw->line, skipped, [&] {
      if (object.is_discarded()) fail("{}", why_not);
      if (is_webui) fail("text behind the chat; a file is one");
      read_line(object, raw->line, chat);
    });
  }
  if (is_first) return std::nullopt;
  return chat;
}

// Who speaks for the assistant, in the order in which they do.
std::vector<std::string> speakers_of(const Chat& chat) {
  std::vector<std::string> names;
  for (const Line& line : chat.lines) {
    if (line.message.role != "assistant" || line.name.empty()) continue;
    if (std::ranges::find(names, line.name) == names.end()) names.push_back(line.name);
  }
  return names;
}

// Fills in who a chat is between where its header does not say.
void complete_names(Chat& chat, const std::vector<std::string>& speakers, const CharacterCard* card) {
  if (chat.user.empty()) {
    const auto line = std::ranges::find_if(
        chat.lines, [](const Line& l) { return l.message.role == "user" && !l.name.empty(); });
    if (line != chat.lines.end()) chat.user = line->name;
  }
  if (card && std::ranges::find(speakers, card->name) != speakers.end()) chat.character = card->name;
  if (chat.character.empty() && !speakers.empty()) chat.character = speakers[0];
  if (chat.character.empty() && card) chat.character = card->name;
}

MacroValues values_of(const Chat& chat, const std::vector<std::string>& speakers) {
  MacroValues values;
  const auto set = [&](const char* macro, const std::string& name) {
    if (!name.empty()) values[macro] = name;
  };
  std::string group = chat.character;
  if (speakers.size() > 1) group = list_of(speakers, speakers.size());
  set("user", chat.user);
  set("char", chat.character);
  set("group", group);
  set("charifnotgroup", group);
  return values;
}

void put_name(const Line& line, const Chat& chat, std::string& content) {
  if (line.message.role == "system" || is_blank(content)) return;
  const std::string& side = line.message.role == "user" ? chat.user : chat.character;
  const std::string& name = line.name.empty() ? side : line.name;
  if (name.empty()) fail("--names: nothing says who speaks");
  content = fmt::format("{}: {}", name, content);
}

// values: of the chat; {{char}} becomes who speaks.
ChatMessage line_message(Line& line, const Chat& chat, const TavernOptions& options, MacroValues& values,
                         LeftMacros& left) {
  const bool has_own = line.message.role == "assistant" && !line.name.empty();
  if (const std::string& name = has_own ? line.name : chat.character; !name.empty()) values["char"] = name;
  line.message.content = fill_macros(line.message.content, values, left);
  if (options.names) put_name(line, chat, line.message.content);
  return std::move(line.message);
}

// The card with what this chat has in place of its fields.
CharacterCard card_for(const CharacterCard& card, const Chat& chat) {
  CharacterCard own = card;
  for (const auto& [from, to] :
       {std::pair(&chat.scenario, &own.scenario), std::pair(&chat.system_prompt, &own.system_prompt),
        std::pair(&chat.mes_example, &own.mes_example)}) {
    if (!is_blank(*from)) *to = *from;
  }
  return own;
}

void report_chat(const Chat& chat, const std::vector<std::string>& speakers, const std::string& path,
                 const CharacterCard* card, TavernReport& report) {
  constexpr size_t kMost = 4;
  std::vector<std::string> names;
  for (const std::string& name : speakers) names.push_back(printable(name, 40));
  const auto count = [&](int64_t& n, std::string& first) {
    if (n++ == 0) first = fmt::format("{}: {}", path, list_of(names, kMost, " and "));
  };
  ++report.n_chats;
  report.n_hidden += chat.n_hidden;
  if (speakers.size() > 1) count(report.n_groups, report.first_group);
  if (card && chat.character != card->name) {
    if (names.empty()) names.push_back(printable(chat.character, 40));
    count(report.n_strange, report.first_strange);
  }
}

}  // namespace

std::optional<Record> read_sillytavern_chat(std::string_view text, const std::string& path,
                                            RecordFormat format, const TavernOptions& options,
                                            TavernReport& report, std::vector<std::string>* skipped) {
  std::optional<Chat> chat = read_chat(text, format, skipped);
  if (!chat) return std::nullopt;
  const std::vector<std::string> speakers = speakers_of(*chat);
  complete_names(*chat, speakers, options.card);
  report_chat(*chat, speakers, path, options.card, report);

  Record record;
  record.splits_between_turns = true;
  std::vector<ChatMessage>& messages = record.chat.emplace().messages;
  MacroValues values = values_of(*chat, speakers);
  if (options.card) {
    const CharacterCard card = card_for(*options.card, *chat);
    std::string message = card_system_message(card, values, report.left);
    if (!message.empty()) messages.push_back({"system", std::move(message)});
    add_card_values(card, values);
  } else {
    for (const auto& [name, own] :
         {std::pair("scenario", &chat->scenario), std::pair("system_prompt", &chat->system_prompt),
          std::pair("mes_example", &chat->mes_example)}) {
      if (!is_blank(*own)) chat->ignored.insert(fmt::format("chat_metadata.{}", name));
    }
  }
  for (Line& line : chat->lines) {
    of_line(line.number, skipped,
            [&] { messages.push_back(line_message(line, *chat, options, values, report.left)); });
  }
  record.ignored = std::move(chat->ignored);
  return record;
}

}  // namespace lora
