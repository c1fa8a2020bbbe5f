// Foreign text on a terminal or in an error message: one line, no control characters.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lora {

// `text` with control characters and bytes that are not UTF-8 written as \n, \r, \t or \xNN. What
// exceeds max_bytes of input is cut at a character and replaced by "...".
std::string printable(std::string_view text, size_t max_bytes = 100);

}  // namespace lora
