#include "data/record_json.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_depth.h"
#include "base/printable.h"

namespace lora {
namespace {

using json = nlohmann::ordered_json;

struct FieldCount {
  int64_t total = 0, most = 0;  // of all objects, of one
};

// Of a text that does not nest too deep, as it is written: a name that stands twice counts twice.
FieldCount count_fields(std::string_view text) {
  std::array<int64_t, kMostJsonLevels + 1> n_fields{};
  FieldCount count;
  size_t depth = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"') {
      for (++at; at < text.size() && text[at] != '"'; ++at) at += text[at] == '\\';
    } else if (c == '{' || c == '[') {
      n_fields[++depth] = 0;
    } else if (c == ':') {
      ++count.total;
      count.most = std::max(count.most, ++n_fields[depth]);
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return count;
}

// Of what became of it.
int64_t n_fields(const json& value) {
  int64_t n = value.is_object() ? int64_t(value.size()) : 0;
  if (value.is_structured()) {
    for (const json& part : value) n += n_fields(part);
  }
  return n;
}

// The first name that an object has twice.
std::string find_double(std::string_view text) {
  std::vector<std::set<std::string>> names;  // of the objects around
  std::string found;
  const json whole = json::parse(text, [&](int, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) names.emplace_back();
    if (event == json::parse_event_t::object_end) names.pop_back();
    if (event == json::parse_event_t::key && !names.back().insert(value.get<std::string>()).second &&
        found.empty())
      found = value.get<std::string>();
    return true;
  });
  return found;
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
  const FieldCount count = count_fields(text);
  if (count.most > kMostFields) fail("an object of more than {} fields", kMostFields);
  try {
    json value = json::parse(text);
    // Programs differ in which of them they take.
    if (n_fields(value) < count.total)
      fail("two fields of one object are named {}", printable(find_double(text)));
    return value;
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
