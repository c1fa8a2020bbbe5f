#include "data/character_card.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/ascii.h"
#include "base/base64.h"
#include "base/error.h"
#include "base/file.h"
#include "base/file_kind.h"
#include "base/json_depth.h"
#include "base/plural.h"
#include "base/printable.h"
#include "data/cutter.h"
#include "data/png_text.h"
#include "data/text_file.h"

namespace lora {
namespace {

using nlohmann::json;

constexpr size_t kMostBytes = 64 << 20;  // of a card's JSON
constexpr std::string_view kKeywords[] = {"ccv3", "chara"};

// What is read of a card: its name in V1 to V3 and in Pygmalion's files, the macro that stands for it.
struct CardField {
  const char *name, *pygmalion;
  std::string CharacterCard::*text;
  const char* macro;
};
constexpr CardField kSystemFields[] = {
    {"system_prompt", "", &CharacterCard::system_prompt, "charprompt"},
    {"description", "char_persona", &CharacterCard::description, "description"},
    {"personality", "", &CharacterCard::personality, "personality"},
    {"scenario", "world_scenario", &CharacterCard::scenario, "scenario"},
    {"mes_example", "example_dialogue", &CharacterCard::mes_example, "mesexamples"},
};

// What no model reads, or has read as the chat's first message.
constexpr std::string_view kMeaningless[] = {
    "name",          "char_name",
    "first_mes",     "char_greeting",
    "creator_notes", "creatorcomment",
    "creator",       "character_version",
    "tags",          "spec",
    "avatar",        "spec_version",
    "chat",          "create_date",
    "talkativeness", "fav",
    "assets",        "creation_date",
    "source",        "modification_date",
    "metadata",      "creator_notes_multilingual",
    "data",          "json_data",
};

std::string trimmed(std::string_view text) {
  constexpr std::string_view spaces = " \t\n\r\f\v";
  const size_t begin = std::min(text.find_first_not_of(spaces), text.size());
  return with_unix_newlines(text.substr(begin, text.find_last_not_of(spaces) + 1 - begin));
}

// "" if there is none.
std::string field_text(const json& card, const char* name) {
  const auto value = card.find(name);
  if (value == card.end() || value->is_null()) return "";
  if (!value->is_string()) fail("{}: expected a text, found {}", name, value->type_name());
  return trimmed(value->get_ref<const std::string&>());
}

std::string field_text(const json& card, const char* name, const char* pygmalion) {
  std::string text = field_text(card, name);
  return text.empty() && *pygmalion != '\0' ? field_text(card, pygmalion) : text;
}

// A text or more. Numbers and switches are settings of a program.
bool says_something(const json& value) {
  if (const auto* text = value.get_ptr<const std::string*>()) return !is_blank(*text);
  return value.is_structured() && !value.empty();
}

std::vector<std::string> unused_fields(const json& card) {
  std::vector<std::string> names;
  const auto is_read = [](const std::string& name) {
    return std::ranges::find(kMeaningless, name) != std::end(kMeaningless) ||
           std::ranges::any_of(kSystemFields, [&](const CardField& row) {
             return name == row.name || name == row.pygmalion;
           });
  };
  const auto add_extensions = [&](const json& extensions) {
    for (const auto& [name, value] : extensions.items()) {
      if (name == "talkativeness" || name == "fav") continue;
      const bool is_depth_prompt = name == "depth_prompt" && value.is_object();
      if (is_depth_prompt ? value.contains("prompt") && says_something(value["prompt"])
                          : says_something(value))
        names.push_back("extensions." + printable(name));
    }
  };
  for (const auto& [name, value] : card.items()) {
    if (is_read(name) || !says_something(value)) continue;
    if (name == "extensions" && value.is_object()) {
      add_extensions(value);
    } else if (name == "character_book" && value.is_object() && value.contains("entries") &&
               value["entries"].is_structured()) {
      if (const auto n = int64_t(value["entries"].size()))
        names.push_back(fmt::format("character_book ({})", count_of(n, "entry", "entries")));
    } else {
      names.push_back(printable(name));
    }
  }
  return names;
}

// The object that holds the fields: V1 has them at the top, V2 and V3 below data.
const json& fields_of(const json& card) {
  const auto spec = card.find("spec");
  if (spec == card.end() || spec->is_null()) return card;
  if (*spec != "chara_card_v2" && *spec != "chara_card_v3") {
    fail("spec: expected chara_card_v2 or chara_card_v3, found {}",
         printable(spec->dump(-1, ' ', false, json::error_handler_t::replace), 40));
  }
  const auto data = card.find("data");
  if (data == card.end() || !data->is_object()) fail("data: missing");
  return *data;
}

// The card of a file's bytes as JSON's text.
std::string json_text(std::span<const std::byte> bytes, const std::string& path) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (is_png(bytes)) {
    auto decoded = decode_base64(png_text(bytes, path, kKeywords));
    if (!decoded) fail("{}: its text is no base64", path);
    return std::move(*decoded);
  }
  if (text.starts_with("PK\x03\x04"))
    fail("{}: a packed card (.charx); unpack it and take its card.json", path);
  const std::string_view own = without_byte_order_mark(text);
  if (!own.substr(std::min(own.find_first_not_of(" \t\r\n"), own.size())).starts_with('{')) {
    refuse_known_kind(bytes, path, "a character card");
    fail("{}: no character card: neither JSON nor a PNG that holds it", path);
  }
  return std::string(own.substr(0, kMostBytes + 1));
}

CharacterCard card_of(std::string_view text) {
  if (text.size() > kMostBytes) fail("a card of more than {} MiB", kMostBytes >> 20);
  if (nests_too_deep(text)) fail("nests more than {} levels deep", kMostJsonLevels);
  const json whole = json::parse(text, nullptr, false);
  if (whole.is_discarded()) fail("no valid JSON in UTF-8");
  if (!whole.is_object()) fail("expected an object, found {}", whole.type_name());
  const json& fields = fields_of(whole);
  CharacterCard card;
  card.name = field_text(fields, "name", "char_name");
  if (card.name.empty()) fail("no character card: it has no name");
  card.version = field_text(fields, "character_version");
  for (const CardField& row : kSystemFields) {
    card.*row.text = field_text(fields, row.name, row.pygmalion);
    if (!(card.*row.text).empty()) card.used.push_back(row.name);
  }
  if (card.used.empty()) fail("nothing of it would go into the system message: its fields are empty");
  card.unused = unused_fields(fields);
  if (lower_case(card.system_prompt).find("{{original}}") != std::string::npos)
    card.unused.push_back("{{original}} (SillyTavern's own system prompt)");
  return card;
}

// A field with its macros filled in, those for other fields too. `within`: the fields around, bit by bit.
std::string filled_field(const CharacterCard& card, const CardField& row, const MacroValues& names,
                         unsigned within = 0) {
  const std::string& text = card.*row.text;
  within |= 1u << (&row - kSystemFields);
  MacroValues values = names;
  LeftMacros left;
  const std::string without = fill_macros(text, {}, left);
  for (const CardField& other : kSystemFields) {
    if ((card.*other.text).empty() || fill_macros(text, {{other.macro, ""}}, left) == without) continue;
    if (within >> (&other - kSystemFields) & 1)
      fail("{}: {{{{{}}}}} stands for what it stands in", row.name, other.macro);
    values[other.macro] = filled_field(card, other, names, within);
  }
  return fill_macros(text, values, left);
}

void refuse_unknowable(const CharacterCard& card) {
  MacroValues any = {{"original", ""}};
  for (const CardField& row : kSystemFields) {
    LeftMacros left;
    fill_macros(card.*row.text, any, left);
    if (left.unknowable.empty()) continue;
    fail(
        "{}: {{{{{}}}}} stands for what SillyTavern alone knows (time, chance, variables or settings); write "
        "in "
        "its place what the model is to read (a card may be .json, which SillyTavern exports)",
        row.name, left.unknowable);
  }
  for (const CardField& row : kSystemFields) filled_field(card, row, {});
}

// The parts that <START> begins.
std::vector<std::string> examples_in(std::string_view text) {
  constexpr std::string_view mark = "<start>";
  std::vector<std::string> parts;
  const std::string lower = lower_case(text);
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(lower.find(mark, begin), text.size());
    if (std::string part = trimmed(text.substr(begin, end - begin)); !part.empty())
      parts.push_back(std::move(part));
    begin = end + mark.size();
  }
  return parts;
}

}  // namespace

CharacterCard read_character_card(const std::string& path) {
  const MappedFile file(path);
  return parse_character_card(file.bytes(), path);
}

CharacterCard parse_character_card(std::span<const std::byte> bytes, const std::string& path) {
  const std::string text = json_text(bytes, path);
  try {
    CharacterCard card = card_of(text);
    refuse_unknowable(card);
    return card;
  } catch (const Error& error) {
    fail("{}: {}", path, error.what());
  }
}

void add_card_values(const CharacterCard& card, MacroValues& values) {
  const MacroValues names = values;
  for (const CardField& row : kSystemFields) {
    if (!(card.*row.text).empty()) values[row.macro] = filled_field(card, row, names);
  }
  if (!card.version.empty()) values["char_version"] = values["charversion"] = card.version;
}

std::string card_system_message(const CharacterCard& card, MacroValues values, LeftMacros& left) {
  add_card_values(card, values);
  values["original"] = "";
  const auto filled = [&](const std::string& field) { return trimmed(fill_macros(field, values, left)); };
  std::string message;
  const auto add = [&](std::string_view before, std::string_view text) {
    if (!text.empty()) message += fmt::format("{}{}{}", message.empty() ? "" : "\n", before, text);
  };
  add("", filled(card.system_prompt));
  values.erase("original");
  add("", filled(card.description));
  add(values["char"] + "'s personality: ", filled(card.personality));
  add("Scenario: ", filled(card.scenario));
  for (const std::string& example : examples_in(filled(card.mes_example))) add("***\n", example);
  return message;
}

}  // namespace lora
