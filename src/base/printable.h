// Foreign text on a terminal or in an error message: no character that a terminal obeys, hides or turns
// round.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lora {

// `text` as one line: control characters, those that hide or reorder text (U+200B, U+202A to U+202E, ...) and
// bytes that are not UTF-8 are written as \n, \r, \t or \xNN. What exceeds max_bytes of input is cut at a
// character and replaced by "...". What is printable stays as it is, so that doing it twice does no harm.
std::string printable(std::string_view text, size_t max_bytes = 100);

// "TEXT" in quotes, for what is quoted in a message.
std::string quoted(std::string_view text, size_t max_bytes = 300);

// The same for a text of several lines: line feeds and tabs stay.
std::string printable_lines(std::string_view text);

// The same for JSON: such a character is written as \uNNNN, which means the same.
std::string printable_json(std::string_view json);

// A message: one printable line of at most max_bytes. Of a longer one the beginning, which says what it is
// about, and the end, which says what to do, are kept.
std::string message_line(std::string_view text, size_t max_bytes = 500);

}  // namespace lora
