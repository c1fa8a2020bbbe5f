// Rows of comma-separated values (RFC 4180): fields may be quoted, hold separators and line ends then, and ""
// for a quote.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lora {

// What separates the fields of the row, one that names them: a comma; without one a semicolon (Excel, where
// numbers have decimal commas) or a tab; without any the line end, so that a row is one field.
char csv_separator(std::string_view row);

// Takes the first row, with its line end, off the text, which is not empty. Line ends are \n and \r\n.
std::string_view take_csv_row(std::string_view& text, char separator);

// The fields of a row as take_csv_row() gave it. Throws Error for a quote that has no end or that text
// follows.
std::vector<std::string> csv_fields(std::string_view row, char separator);

}  // namespace lora
