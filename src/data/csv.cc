#include "data/csv.h"

#include "base/error.h"

namespace lora {
namespace {

// The end of the quoted field that begins at `at`, behind its last quote; npos if it has none.
size_t quoted_end(std::string_view text, size_t at) {
  while ((at = text.find('"', at + 1)) != std::string_view::npos) {
    if (at + 1 == text.size() || text[at + 1] != '"') return at + 1;
    ++at;
  }
  return at;
}

}  // namespace

char csv_separator(std::string_view row) {
  for (const char separator : {',', ';', '\t'}) {
    bool is_quoted = false;
    for (const char c : row) {
      is_quoted ^= c == '"';
      if (c == separator && !is_quoted) return separator;
    }
  }
  return '\n';
}

std::string_view take_csv_row(std::string_view& text, char separator) {
  const char ends[] = {separator, '\n'};
  size_t at = 0;
  while (true) {
    if (at < text.size() && text[at] == '"') at = quoted_end(text, at);
    if (at != std::string_view::npos) at = text.find_first_of({ends, 2}, at);
    if (at == std::string_view::npos || text[at] == '\n') break;
    ++at;
  }
  const std::string_view row = text.substr(0, at == std::string_view::npos ? at : at + 1);
  text.remove_prefix(row.size());
  return row;
}

std::vector<std::string> csv_fields(std::string_view row, char separator) {
  if (row.ends_with('\n')) row.remove_suffix(1);
  if (row.ends_with('\r')) row.remove_suffix(1);
  std::vector<std::string> fields;
  for (size_t at = 0;; ++at) {
    const bool is_quoted = at < row.size() && row[at] == '"';
    const size_t end = is_quoted ? quoted_end(row, at) : std::min(row.find(separator, at), row.size());
    if (end == std::string_view::npos) fail("field {}: a quote without an end", fields.size() + 1);
    if (end < row.size() && row[end] != separator)
      fail("field {}: text behind its closing quote", fields.size() + 1);
    std::string& field = fields.emplace_back();
    if (is_quoted) {
      for (size_t i = at + 1; i + 1 < end; ++i) {
        field += row[i];
        if (row[i] == '"') ++i;
      }
    } else {
      field = row.substr(at, end - at);
    }
    if (end >= row.size()) return fields;
    at = end;
  }
}

}  // namespace lora
