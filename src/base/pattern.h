// A regular expression that a user or a file gives (PCRE2's syntax), matched within bounds of time and
// memory.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace lora {

class Pattern {
 public:
  struct How {
    bool at_start = false;  // a match must begin where the text does
    bool any_case = false;
  };
  // nullopt if it is no regular expression.
  static std::optional<Pattern> compile(const std::string& expression, How how);

  // Whether the text holds a match; nullopt if finding out takes more steps than any sensible pattern needs.
  std::optional<bool> matches(std::string_view text) const;

 private:
  struct Code;
  explicit Pattern(std::shared_ptr<const Code> code) : code_(std::move(code)) {}

  std::shared_ptr<const Code> code_;
};

}  // namespace lora
