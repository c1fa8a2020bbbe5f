// A file of records, taken apart into the texts of its records; what they say is for data/record.h.
//
//   .jsonl  a record a line; blank lines mean nothing
//   .json   a list of records, an object around one such list, or records one after the other
//   .csv    (or .tsv) a row a record; the first row names the fields
//
// A .jsonl or .json of SillyTavern's lines is one conversation: data/sillytavern.h.
#pragma once

#include <atomic>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "data/columns.h"
#include "data/record.h"

namespace lora {

enum class RecordFormat { jsonl, json, csv };

// By the ending of the name, in any case; nullopt: a text.
std::optional<RecordFormat> record_format(std::string_view path);

struct RawRecord {
  std::string_view text;  // into the file's
  int64_t line = 0;       // where it begins, from 1
};

class RecordCutter {
 public:
  // The text must stay valid. Throws Error "line 1: ..." if the first row of a .csv names no record's fields,
  // one twice, or not all of `columns`; for an object around several lists.
  RecordCutter(std::string_view text, RecordFormat format, Columns columns = {});

  // The next record in order, nullopt at the end. Throws Error "line N: ..." where no record can be told from
  // the next one.
  std::optional<RawRecord> next();

  // What next() gave as a record. Thread-safe. Throws Error without the line.
  Record parse(std::string_view text) const;

  // To be called when all are parsed. Throws Error if none of them has one of the columns.
  void expect_columns() const;

 private:
  void unwrap();
  std::optional<RawRecord> next_row();
  std::optional<RawRecord> next_json();
  void skip_space();
  std::string_view take(size_t n_bytes);

  std::string_view rest_;
  RecordFormat format_;
  int64_t line_ = 1;                                          // of the first byte of rest_
  std::vector<std::string> fields_;                           // of a .csv
  char separator_ = ',';                                      // of a .csv
  bool is_list_ = false, is_first_ = true, is_over_ = false;  // of a .json
  std::set<std::string> around_;                              // the fields of the object around a list
  Columns columns_;
  mutable std::atomic<uint64_t> found_ = 0;  // the columns that records had, bit by bit
  bool has_records_ = false;
};

}  // namespace lora
