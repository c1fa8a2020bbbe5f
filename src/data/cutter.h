// Cuts a text into samples at each occurrence of a pattern.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace lora {

// Nothing but ASCII white space.
bool is_blank(std::string_view text);

struct CutSample {
  std::string_view text;  // into the text that is cut
  bool blank = false;     // the pattern aside, nothing but white space
};

// Samples begin after each occurrence (with it, if include_pattern) and end before the next one or
// with the text. Occurrences are found from left to right and do not overlap. What stands before the
// first one is a sample too, unless it is blank. Views must stay valid; the pattern is not empty.
class SampleCutter {
 public:
  SampleCutter(std::string_view text, std::string_view pattern, bool include_pattern);
  // The next sample in order, nullopt at the end.
  std::optional<CutSample> next();

 private:
  std::string_view text_, pattern_;
  bool include_pattern_;
  size_t start_;            // of the next occurrence, npos if none
  bool head_left_ = false;  // what stands before the first occurrence is still to be handed out
};

}  // namespace lora
