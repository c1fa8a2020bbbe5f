// Fields of records under other names (--columns prompt=frage,completion=antwort).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lora {

// The name of a field as data/record.h has it, and what it is called in the records.
using Columns = std::vector<std::pair<std::string, std::string>>;

// From NAME=COLUMN,...; a pair in double quotes may hold commas, as in .csv. Throws Error if it
// is written otherwise, no form of record has a field NAME, or a NAME or COLUMN stands there twice.
Columns parse_columns(std::string_view text);
std::string columns_text(const Columns& columns);  // for people to read

// Gives the record's columns their names; returns which of them it has, bit by bit (at most 64). Throws Error
// where a record has a field of such a name beside the column.
uint64_t rename_columns(nlohmann::ordered_json& record, const Columns& columns);
// The same for the first row of a .csv, which has to have all of them.
void rename_columns(std::vector<std::string>& names, const Columns& columns);

}  // namespace lora
