// "did you mean": the known word near a mistyped one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lora::cli {

// The least number of insertions, deletions, replacements and swaps of neighbours that turn a into b
// (optimal string alignment).
int edit_distance(std::string_view a, std::string_view b);

// '_' as '-'.
std::string with_dashes(std::string_view word);

// The first of the known words with the least distance, dashes before and '_' for '-' not counted; else the
// shortest that begins with the word, or ends with it behind a dash. "" if none is near: then the guess would
// be odder than none. Near is a third of the letters, two at least, one in words of two or three letters.
std::string nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace lora::cli
