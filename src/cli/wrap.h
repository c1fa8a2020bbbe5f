// Text in lines, for pages and terminals.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lora::cli {

// Text broken at spaces into lines of at most `width` letters, all but the first indented. A longer word has
// a line of its own, whole, so that a name can be copied.
std::string wrap(std::string_view text, size_t width, size_t indent);

// A message for a terminal of so many columns: wrapped, what follows indented by two. As it is for 0, a pipe.
std::string wrap_message(std::string_view line, int columns);

}  // namespace lora::cli
