#include "recipe/text_marks.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/ascii.h"

namespace lora {
namespace {

constexpr int64_t kLeastSamples = 3;
// Bytes: a novel has its scenes' breaks, which make no samples.
constexpr size_t kLongSample = 8000;
constexpr size_t kMostOfMark = 40;

std::string_view line_at(std::string_view text, size_t begin) {
  return text.substr(begin, text.find('\n', begin) - begin);
}

// How often a line begins with it.
int64_t count_at_lines(std::string_view text, std::string_view mark) {
  int64_t n = 0;
  for (size_t at = text.find(mark); at != text.npos; at = text.find(mark, at + mark.size()))
    n += at == 0 || text[at - 1] == '\n';
  return n;
}

int64_t count(std::string_view text, std::string_view mark) {
  int64_t n = 0;
  for (size_t at = text.find(mark); at != text.npos; at = text.find(mark, at + mark.size())) ++n;
  return n;
}

// "<s>", "[START]", "<|endoftext|>": brackets around a word.
std::string_view tag_at_begin(std::string_view line) {
  const char close = line.starts_with('<') ? '>' : line.starts_with('[') ? ']' : '\0';
  const size_t end = close ? line.find(close) : line.npos;
  if (end == line.npos || end < 2 || end >= kMostOfMark) return {};
  const std::string_view word = line.substr(1, end - 1);
  const bool is_word = std::ranges::all_of(word, [](char c) { return c > ' ' && c != '<' && c != '['; });
  return is_word ? line.substr(0, end + 1) : std::string_view();
}

// Words that begin a sample, as they are written before a colon, "###" and "**" around them or not.
std::string_view opening_words(std::string_view line) {
  static constexpr std::string_view kWords[] = {"instruction", "question", "q",   "prompt",
                                                "input",       "human",    "user"};
  const size_t colon = line.substr(0, kMostOfMark).find(':');
  if (colon == line.npos) return {};
  std::string_view word = line.substr(0, colon);
  const auto is_sign = [](char c) { return c == '#' || c == '*' || c == ' '; };
  while (!word.empty() && is_sign(word.front())) word.remove_prefix(1);
  while (!word.empty() && is_sign(word.back())) word.remove_suffix(1);
  const bool is_known = std::ranges::count(kWords, lower_case(word)) > 0;
  return is_known ? line.substr(0, colon + 1) : std::string_view();
}

// A line that no one reads aloud: three signs of a kind or more, or a tag that stands for a text's end.
bool is_separator(std::string_view line) {
  if (line == "</s>" || line == "<|endoftext|>" || line == "<|end_of_text|>") return true;
  constexpr std::string_view kSigns = "-=*#~_%+";
  return line.size() >= 3 && line.size() <= kMostOfMark && kSigns.find(line[0]) != kSigns.npos &&
         line.find_first_not_of(line[0]) == line.npos;
}

// Whether nine tenths of the text lie in pieces that are short enough, and a piece is not all of it.
bool makes_samples(std::string_view text, std::string_view mark) {
  size_t in_short = 0;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(mark, begin), text.size());
    if (end - begin <= kLongSample) in_short += end - begin + mark.size();
    begin = end + mark.size();
  }
  return double(in_short) >= 0.9 * double(text.size());
}

std::optional<TextMark> opening_mark(std::string_view text) {
  const std::string_view first = line_at(text, 0);
  if (const std::string_view tag = tag_at_begin(first); !tag.empty()) {
    // Anywhere: a sample may begin in a line.
    if (const int64_t n = count(text, tag); n >= kLeastSamples && makes_samples(text, tag))
      return TextMark{std::string(tag), false, n};
  }
  if (const std::string_view words = opening_words(first); !words.empty()) {
    const int64_t n = count_at_lines(text, words);
    if (n >= kLeastSamples && n == count(text, words) && makes_samples(text, words))
      return TextMark{std::string(words), true, n};
  }
  return std::nullopt;
}

std::optional<TextMark> separating_line(std::string_view text) {
  std::map<std::string_view, int64_t> found;
  for (size_t begin = 0; begin < text.size();) {
    const std::string_view line = line_at(text, begin);
    if (is_separator(line)) ++found[line];
    begin += line.size() + 1;
  }
  for (const auto& [line, n] : found) {
    const std::string mark = fmt::format("\n{}\n", line);
    // What stands before the first is a sample, too.
    if (n + 1 >= kLeastSamples && count(text, mark) == n && makes_samples(text, mark))
      return TextMark{mark, false, n + 1};
  }
  return std::nullopt;
}

}  // namespace

std::optional<TextMark> find_mark(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == text.npos) return std::nullopt;
  text.remove_prefix(begin);
  if (auto mark = opening_mark(text)) return mark;
  return separating_line(text);
}

}  // namespace lora
