// For tests: GoogleTest's ContainsRegex and MatchesRegex know neither [] nor () nor {} on Windows.
#pragma once

#include <gmock/gmock.h>

#include <string>

#include "base/pattern.h"

namespace lora {

inline bool has_match(const std::string& text, const std::string& expression) {
  const auto pattern = Pattern::compile("(?s)" + expression, {});  // "." is a line feed, too
  return pattern && pattern->matches(text).value_or(false);
}

MATCHER_P(contains_regex, expression, "holds what /" + std::string(expression) + "/ is for") {
  return has_match(arg, std::string(expression));
}

MATCHER_P(matches_regex, expression, "is what /" + std::string(expression) + "/ is for") {
  return has_match(arg, "\\A(?:" + std::string(expression) + ")\\z");
}

}  // namespace lora
