#include "data/cutter.h"

#include <algorithm>

namespace lora {

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\n\r\v\f") == std::string_view::npos;
}

SampleCutter::SampleCutter(std::string_view text, std::string_view pattern, bool include_pattern)
    : text_(text), pattern_(pattern), include_pattern_(include_pattern), start_(text.find(pattern)) {
  head_left_ = !is_blank(text_.substr(0, start_));
}

std::optional<CutSample> SampleCutter::next() {
  if (head_left_) {
    head_left_ = false;
    return CutSample{text_.substr(0, start_), false};
  }
  if (start_ == std::string_view::npos) return std::nullopt;
  const size_t body = start_ + pattern_.size();
  const size_t begin = include_pattern_ ? start_ : body;
  start_ = text_.find(pattern_, body);
  const size_t end = std::min(start_, text_.size());
  return CutSample{text_.substr(begin, end - begin), is_blank(text_.substr(body, end - body))};
}

}  // namespace lora
