// "did you mean": the known word nearest to a mistyped one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lora::cli {

// The least number of insertions, deletions, replacements and swaps of neighbours that turn a into b
// (optimal string alignment).
int edit_distance(std::string_view a, std::string_view b);

// The first of the known words with the least distance; "" only if there are none.
std::string nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace lora::cli
