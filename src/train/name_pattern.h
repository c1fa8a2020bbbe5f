// Names of files in which a mark (--pattern-fn-it) stands for a number.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace lora {

// `mark` in `name` replaced by `value`, everywhere.
std::string fill_pattern(std::string name, const std::string& mark, const std::string& value);

// Whether the file name `file` is `name` with a number in place of the mark.
bool is_numbered(const std::string& file, const std::string& name, const std::string& mark);

// The number; nothing of other names, and of numbers that are too large or do not stand as this program
// writes them ("007").
std::optional<int64_t> number_in_name(const std::string& file, const std::string& name,
                                      const std::string& mark);

// Whether two paths, with some numbers in place of their marks, name one file. Each mark counts by itself.
bool can_be_equal(const std::string& a, const std::string& b, const std::string& mark);

}  // namespace lora
