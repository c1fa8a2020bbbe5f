// What tells the samples of a plain text apart, found in the text itself.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lora {

struct TextMark {
  std::string text;       // as it stands in the file: "<s>", "\n---\n"
  bool is_of_the_sample;  // it is no mark alone but how each sample begins: "### Instruction:"
  int64_t n_samples;      // that it makes

  bool operator==(const TextMark&) const = default;
};

// A mark that the text begins with and that comes again at the beginnings of lines: a tag ("<s>", "[START]"),
// or words that end in a colon and are known to begin samples ("### Instruction:", "Q:"); else a line of
// signs alone
// ("---", "***", "<|endoftext|>") between what is short enough to be samples. nullopt: the text is prose, or
// its marks are not known.
std::optional<TextMark> find_mark(std::string_view text);

}  // namespace lora
