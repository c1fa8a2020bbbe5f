#include "data/record_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/ascii.h"
#include "base/error.h"
#include "base/printable.h"
#include "data/csv.h"
#include "data/cutter.h"
#include "data/record_json.h"

namespace lora {
namespace {

using json = nlohmann::ordered_json;

// Bytes of the JSON value that the text begins with, found by its brackets and quotes alone; npos if it has
// no end. A value that is no object or list goes on to the next comma, bracket or white space.
size_t json_size(std::string_view text) {
  int64_t depth = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"') {
      for (++at; at < text.size() && text[at] != '"'; ++at) at += text[at] == '\\';
      if (at >= text.size()) return std::string_view::npos;
      if (depth == 0) return at + 1;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (depth > 0) {
      if ((c == '}' || c == ']') && --depth == 0) return at + 1;
    } else if (at > 0 && (c == ',' || c == '}' || c == ']' || is_blank({&c, 1}))) {
      return at;
    }
  }
  return depth == 0 ? text.size() : std::string_view::npos;
}

struct Field {
  std::string name;
  std::string_view value;
};

// The fields of the object that the text is; none if it is not one.
std::vector<Field> split_fields(std::string_view text) {
  std::vector<Field> fields;
  text.remove_prefix(1);
  const auto take = [&](size_t size) {
    const std::string_view taken = text.substr(0, size);
    text.remove_prefix(taken.size());
    text.remove_prefix(std::min(text.find_first_not_of(" \t\n\r"), text.size()));
    return taken;
  };
  take(0);
  while (text.starts_with('"')) {
    const json name = json::parse(take(json_size(text)), nullptr, false);
    if (!name.is_string() || !text.starts_with(':')) return {};
    take(1);
    fields.push_back({name.get<std::string>(), take(json_size(text))});
    if (!text.starts_with(',')) break;
    take(1);
  }
  return text == "}" ? fields : std::vector<Field>();
}

bool is_list_of_objects(std::string_view text) {
  if (!text.starts_with('[')) return false;
  const size_t at = text.find_first_not_of(" \t\n\r", 1);
  return at != std::string_view::npos && text[at] == '{';
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + printable(name);
  return text;
}

}  // namespace

std::optional<RecordFormat> record_format(std::string_view path) {
  if (ends_in_any_case(path, ".jsonl")) return RecordFormat::jsonl;
  if (ends_in_any_case(path, ".json")) return RecordFormat::json;
  if (ends_in_any_case(path, ".csv") || ends_in_any_case(path, ".tsv")) return RecordFormat::csv;
  return std::nullopt;
}

RecordCutter::RecordCutter(std::string_view text, RecordFormat format, Columns columns)
    : rest_(text), format_(format), columns_(std::move(columns)) {
  if (format == RecordFormat::csv) {
    const auto row = next_row();
    if (!row) return;
    separator_ = csv_separator(row->text);
    fields_ = csv_fields(row->text, separator_);
    for (auto it = fields_.begin(); it != fields_.end(); ++it) {
      if (!it->empty() && std::find(fields_.begin(), it, *it) != it)
        fail("line {}: two columns are named {}", row->line, printable(*it));
    }
    const std::string found = joined(fields_);
    try {
      rename_columns(fields_, std::exchange(columns_, {}));
    } catch (const Error& error) {
      fail("line {}: {}; found {}", row->line, error.what(), found);
    }
    if (!are_record_fields(fields_)) {  // spreadsheets write "Question"
      std::vector<std::string> in_lower_case;
      for (const std::string& field : fields_) in_lower_case.push_back(lower_case(field));
      const bool differ = std::set(in_lower_case.begin(), in_lower_case.end()).size() == fields_.size();
      if (differ && are_record_fields(in_lower_case)) fields_ = std::move(in_lower_case);
    }
    if (!are_record_fields(fields_)) {
      fail(
          "line {}: it should name the fields, of one of these forms: {} (--columns prompt=A,completion=B "
          "for others); found {}",
          row->line, record_forms(), found);
    }
  } else if (format == RecordFormat::json) {
    skip_space();
    if (rest_.starts_with('{')) unwrap();
    is_list_ = rest_.starts_with('[');
    if (is_list_) take(1);
  }
}

// A file that is one object, no record itself, around one list of objects: the list is what is read.
void RecordCutter::unwrap() {
  const size_t size = json_size(rest_);
  if (size == std::string_view::npos || !is_blank(rest_.substr(size))) return;
  std::string_view list;
  std::vector<std::string> lists;
  std::set<std::string> others;
  for (const Field& field : split_fields(rest_.substr(0, size))) {
    const bool is_column =
        std::ranges::any_of(columns_, [&](const auto& column) { return column.second == field.name; });
    const bool is_split = field.name == "train" && field.value.starts_with('[');  // and no switch
    if (is_column || (is_record_field(field.name) && !is_split)) return;
    if (is_list_of_objects(field.value)) {
      list = field.value;
      lists.push_back(field.name);
    } else {
      others.insert(printable(field.name));
    }
  }
  if (lists.empty()) return;
  if (lists.size() > 1) {
    fail("line {}: an object around several lists, {}; write the one with the records into a file of its own",
         line_, joined(lists));
  }
  take(size_t(list.data() - rest_.data()));
  rest_ = list;
  around_ = std::move(others);
}

std::string_view RecordCutter::take(size_t n_bytes) {
  const std::string_view taken = rest_.substr(0, n_bytes);
  line_ += std::count(taken.begin(), taken.end(), '\n');
  rest_.remove_prefix(taken.size());
  return taken;
}

void RecordCutter::skip_space() {
  take(std::min(rest_.find_first_not_of(" \t\n\r"), rest_.size()));
}

std::optional<RawRecord> RecordCutter::next() {
  const auto record = format_ == RecordFormat::json ? next_json() : next_row();
  has_records_ |= record.has_value();
  return record;
}

std::optional<RawRecord> RecordCutter::next_row() {
  while (!rest_.empty()) {
    const int64_t line = line_;
    std::string_view after = rest_;
    const size_t size = format_ == RecordFormat::csv ? take_csv_row(after, separator_).size()
                                                     : std::min(rest_.find('\n'), rest_.size() - 1) + 1;
    const std::string_view row = take(size);
    if (!is_blank(row)) return RawRecord{row, line};
  }
  return std::nullopt;
}

std::optional<RawRecord> RecordCutter::next_json() {
  skip_space();
  if (is_list_ && !is_over_) {
    if (rest_.starts_with(']')) {
      take(1);
      is_over_ = true;
      skip_space();
    } else if (!is_first_) {
      if (!rest_.starts_with(',')) fail("line {}: expected , or ] behind a record", line_);
      take(1);
      skip_space();
    }
  }
  is_first_ = false;
  if (is_over_ && !rest_.empty()) fail("line {}: text behind the end of the list", line_);
  if (rest_.empty()) {
    if (is_list_ && !is_over_) fail("line {}: the list has no end", line_);
    return std::nullopt;
  }
  const size_t size = json_size(rest_);
  if (size == std::string_view::npos) fail("line {}: the record that begins here has no end", line_);
  const int64_t line = line_;
  return RawRecord{take(std::max<size_t>(size, 1)), line};
}

Record RecordCutter::parse(std::string_view text) const {
  if (format_ != RecordFormat::csv) {
    json object = parse_json(text);
    if (object.is_object()) found_ |= rename_columns(object, columns_);
    Record record = read_record(object);
    record.ignored.insert(around_.begin(), around_.end());
    return record;
  }
  const std::vector<std::string> values = csv_fields(text, separator_);
  if (values.size() != fields_.size()) {
    fail("{} fields where the first row names {}", values.size(), fields_.size());
  }
  json object = json::object();
  for (size_t i = 0; i < values.size(); ++i) object[fields_[i]] = values[i];
  return read_record(object);
}

void RecordCutter::expect_columns() const {
  for (size_t i = 0; i < columns_.size() && has_records_; ++i) {
    if (!(found_ >> i & 1)) fail("--columns: no record has a field {}", printable(columns_[i].second));
  }
}

}  // namespace lora
