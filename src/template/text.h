// Text as Python's str sees it: a sequence of code points, kept as UTF-8. A byte that belongs to no character
// counts as one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lora::jinja {

int64_t count_characters(std::string_view text);
// Bytes before the character of that number; the text's size where it has fewer.
size_t byte_of_character(std::string_view text, int64_t number);
std::vector<std::string_view> characters(std::string_view text);

// As str.isspace and the like have them; case as Unicode's tables have it, of one character by one.
bool is_space(uint32_t code);
bool is_letter(uint32_t code);
bool is_digit(uint32_t code);
bool is_upper(uint32_t code);
bool is_lower(uint32_t code);
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string swap_case(std::string_view text);
std::string capitalize(std::string_view text);  // the first character upper, the rest lower
std::string title(std::string_view text);       // the same of each run of letters

// Without white space, or without the characters of `chars`, on that side.
std::string_view strip_left(std::string_view text, const std::string_view* chars = nullptr);
std::string_view strip_right(std::string_view text, const std::string_view* chars = nullptr);
std::string_view strip(std::string_view text, const std::string_view* chars = nullptr);

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends = false);
// At white space, or at `separator`; at most so many cuts, if not negative.
std::vector<std::string_view> split(std::string_view text, const std::string_view* separator, int64_t most);
std::vector<std::string_view> split_from_right(std::string_view text, const std::string_view* separator,
                                               int64_t most);
// Takes linear time, unlike std::string_view::find. npos where there is none.
size_t find(std::string_view text, std::string_view what, size_t from = 0);
size_t find_last(std::string_view text, std::string_view what);
std::string replace(std::string_view text, std::string_view old, std::string_view by, int64_t most = -1);

}  // namespace lora::jinja
