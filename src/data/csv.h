// Rows of comma-separated values (RFC 4180): fields may be quoted, hold commas and line ends then, and "" for
// a quote.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lora {

// Takes the first row, with its line end, off the text, which is not empty. Line ends are \n and \r\n.
std::string_view take_csv_row(std::string_view& text);

// The fields of a row as take_csv_row() gave it. Throws Error for a quote that has no end or that text
// follows.
std::vector<std::string> csv_fields(std::string_view row);

}  // namespace lora
