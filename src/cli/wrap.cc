#include "cli/wrap.h"

#include <algorithm>

namespace lora::cli {

std::string wrap(std::string_view text, size_t width, size_t indent) {
  std::string result;
  size_t column = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    // Of UTF-8 the bytes that begin a letter.
    const auto size = size_t(std::ranges::count_if(word, [](char c) { return (c & 0xc0) != 0x80; }));
    if (column > 0 && column + 1 + size > width) {
      result += '\n';
      result.append(indent, ' ');
      column = 0;
    } else if (column > 0) {
      result += ' ';
      ++column;
    }
    result += word;
    column += size;
    begin = end + 1;
  }
  return result;
}

std::string wrap_message(std::string_view line, int columns) {
  constexpr int kIndent = 2,
                kLeast = 20;  // narrower, the terminal's own way of breaking lines reads no worse
  if (columns < kLeast) return std::string(line);
  // Some terminals wrap when the last column is written.
  return wrap(line, size_t(columns - 1 - kIndent), kIndent);
}

}  // namespace lora::cli
