#include "data/record_json.h"

#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/json_depth.h"

namespace lora {
namespace {

using json = nlohmann::ordered_json;

// Of a text that does not nest too deep.
bool has_too_many_fields(std::string_view text) {
  std::array<int64_t, kMostJsonLevels + 1> n_fields{};
  size_t depth = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"') {
      for (++at; at < text.size() && text[at] != '"'; ++at) at += text[at] == '\\';
    } else if (c == '{' || c == '[') {
      n_fields[++depth] = 0;
    } else if (c == ':') {
      if (++n_fields[depth] > kMostFields) return true;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

// Of a text that is no JSON: what pandas makes of a column of lists.
bool is_written_by_python(std::string_view text) {
  const size_t at = text.find_first_not_of(" \t\r\n[{");
  return at != std::string_view::npos && at > 0 && text[at] == '\'';
}

const json& structure_of(const json& value, json::value_t kind, std::string_view kind_name,
                         std::string_view name, json& parsed) {
  if (value.type() == kind) return value;
  const auto* text = value.get_ptr<const std::string*>();
  if (!text) fail("{}: expected {}, found {}", name, kind_name, value.type_name());
  try {
    parsed = parse_json(*text);
  } catch (const Error& error) {
    fail("{}: expected {} or its JSON text: {}{}", name, kind_name, error.what(),
         is_written_by_python(*text) ? "; it is as Python prints it, json.dumps() writes JSON" : "");
  }
  if (parsed.type() != kind) {
    fail("{}: expected {} or its JSON text, found the text of {}", name, kind_name, parsed.type_name());
  }
  return parsed;
}

}  // namespace

json parse_json(std::string_view text) {
  if (nests_too_deep(text)) fail("nests more than {} levels deep", kMostJsonLevels);
  if (has_too_many_fields(text)) fail("an object of more than {} fields", kMostFields);
  try {
    return json::parse(text);
  } catch (const json::parse_error& error) {
    fail("no valid JSON in UTF-8 from its byte {} on", error.byte);
  } catch (const json::out_of_range&) {
    fail("a number too large for a double");
  }
}

const json& list_of(const json& value, std::string_view name, json& parsed) {
  return structure_of(value, json::value_t::array, "a list", name, parsed);
}

const json& object_of(const json& value, std::string_view name, json& parsed) {
  return structure_of(value, json::value_t::object, "an object", name, parsed);
}

}  // namespace lora
