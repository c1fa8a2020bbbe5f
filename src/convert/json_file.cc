#include "convert/json_file.h"

#include "base/error.h"
#include "base/file.h"
#include "base/file_kind.h"
#include "base/json_depth.h"
#include "base/printable.h"

namespace lora {

using nlohmann::json;

namespace {

// Python writes Infinity and NaN for what JSON has no numbers for, and reads them, too: null here.
std::string without_infinities(std::string_view text) {
  std::string result;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') in_string = !in_string;
    if (in_string && c == '\\' && i + 1 < text.size()) result += text[i++];
    bool is_replaced = false;
    for (const std::string_view word : {"-Infinity", "Infinity", "NaN"}) {
      if (in_string || is_replaced || !text.substr(i).starts_with(word)) continue;
      result += "null";
      i += word.size() - 1;
      is_replaced = true;
    }
    if (!is_replaced) result += text[i];
  }
  return result;
}

}  // namespace

json parse_json_object(std::string_view text, const std::string& path) {
  if (nests_too_deep(text)) fail("{}: nests deeper than it should", path);
  json result;
  try {
    if (json::accept(text.begin(), text.end())) {
      result = json::parse(text.begin(), text.end());
    } else if (const std::string plain = without_infinities(text); json::accept(plain)) {
      result = json::parse(plain);
    } else {
      result = json::parse(text.begin(), text.end());  // for what it says
    }
  } catch (const json::parse_error& e) {
    refuse_known_kind(std::as_bytes(std::span(text)), path, "JSON");
    fail("{}: not valid JSON at its byte {}", path, e.byte);
  } catch (const json::exception& e) {  // a number that does not fit its type
    fail("{}: not valid JSON: {}", path, printable(e.what()));
  }
  if (!result.is_object()) fail("{}: expected a JSON object", path);
  return result;
}

json read_json_file(const std::string& path) {
  const MappedFile file(path);
  return parse_json_object(file.text(), path);
}

const json* json_field(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::string> json_text(const json& object, const char* key) {
  const json* field = json_field(object, key);
  return field && field->is_string() ? std::optional(field->get<std::string>()) : std::nullopt;
}

std::optional<bool> json_bool(const json& object, const char* key) {
  const json* field = json_field(object, key);
  return field && field->is_boolean() ? std::optional(field->get<bool>()) : std::nullopt;
}

std::optional<double> json_number(const json& object, const char* key) {
  const json* field = json_field(object, key);
  return field && field->is_number() ? std::optional(field->get<double>()) : std::nullopt;
}

std::optional<int64_t> json_integer(const json& object, const char* key) {
  const json* field = json_field(object, key);
  if (!field || !field->is_number_integer()) return std::nullopt;
  if (field->is_number_unsigned() && field->get<uint64_t>() > uint64_t(INT64_MAX)) return std::nullopt;
  return field->get<int64_t>();
}

namespace {

template <class T>
std::optional<T> expect(std::optional<T> value, const json& object, const char* key,
                        const std::string& path) {
  const json* field = json_field(object, key);
  if (field && !value) fail("{}: {}: {} makes no sense", path, key, printable(field->dump()));
  return value;
}

}  // namespace

std::optional<std::string> stated_text(const json& object, const char* key, const std::string& path) {
  return expect(json_text(object, key), object, key, path);
}

std::optional<bool> stated_switch(const json& object, const char* key, const std::string& path) {
  const auto number = json_number(object, key);
  return expect(number ? std::optional(*number != 0) : json_bool(object, key), object, key, path);
}

std::optional<double> stated_number(const json& object, const char* key, const std::string& path) {
  return expect(json_number(object, key), object, key, path);
}

std::optional<int64_t> stated_integer(const json& object, const char* key, const std::string& path) {
  return expect(json_integer(object, key), object, key, path);
}

const json* stated_list(const json& object, const char* key, const std::string& path) {
  const json* field = json_field(object, key);
  const bool is_list = field && field->is_array();
  return expect(is_list ? std::optional(field) : std::nullopt, object, key, path).value_or(nullptr);
}

}  // namespace lora
