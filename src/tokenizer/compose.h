// Accents composed with their letters: Unicode's normalization form NFC, in which several tokenizers were
// trained ("e" and U+0301 become "é", jamo become syllables). llama.cpp does not compose.
#pragma once

#include <string>
#include <string_view>

namespace lora {

// The text in NFC: the text itself if it is so already, as nearly all texts are, else what is put into
// `buffer`. Bytes that are no UTF-8 stay as they are, and nothing combines across them. Time grows as n log n
// of the longest run of combining marks.
std::string_view composed(std::string_view text, std::string& buffer);

}  // namespace lora
