#include "data/columns.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "data/csv.h"
#include "data/record.h"

namespace lora {
namespace {

using json = nlohmann::ordered_json;

[[noreturn]] void fail_twice(const std::string& name, const std::string& column) {
  fail("--columns: {} is to be {}, but there is a field {} too", printable(column), name, name);
}

}  // namespace

Columns parse_columns(std::string_view text) {
  Columns columns;
  if (text.empty()) return columns;
  for (const std::string& pair : csv_fields(text, ',')) {
    const size_t at = pair.find('=');
    if (at == std::string::npos || at == 0 || at + 1 == pair.size())
      fail("expected NAME=COLUMN,..., found '{}'", printable(pair));
    const std::string name = pair.substr(0, at), column = pair.substr(at + 1);
    if (!is_record_field(name)) {
      fail("no form of record has a field {}; there are {}", printable(name), record_fields());
    }
    for (const auto& [other_name, other_column] : columns) {
      if (other_name == name) fail("{} stands there twice", name);
      if (other_column == column) fail("{} is to be {} and {}", printable(column), other_name, name);
    }
    columns.emplace_back(name, column);
  }
  return columns;
}

std::string columns_text(const Columns& columns) {
  std::string text;
  for (const auto& [name, column] : columns) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", name, column);
  }
  return text;
}

// All are taken out before one is put in, so that names may be exchanged.
uint64_t rename_columns(json& record, const Columns& columns) {
  uint64_t found = 0;
  std::vector<json> values(columns.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    const auto it = record.find(columns[i].second);
    if (it == record.end()) continue;
    found |= uint64_t{1} << i;
    values[i] = std::move(*it);
    record.erase(it);
  }
  for (size_t i = 0; i < columns.size(); ++i) {
    if (!(found >> i & 1)) continue;
    json& field = record[columns[i].first];
    if (!field.is_null()) fail_twice(columns[i].first, columns[i].second);
    field = std::move(values[i]);
  }
  return found;
}

void rename_columns(std::vector<std::string>& names, const Columns& columns) {
  const std::vector<std::string> before = names;
  for (const auto& [name, column] : columns) {
    const auto it = std::ranges::find(before, column);
    if (it == before.end()) fail("--columns: there is no column {}", printable(column));
    names[size_t(it - before.begin())] = name;
  }
  for (const auto& [name, column] : columns) {
    if (std::ranges::count(names, name) > 1) fail_twice(name, column);
  }
}

}  // namespace lora
