// A regular expression that a user or a file gives (PCRE2's syntax), matched within bounds of time and
// memory.
#pragma once

#include <cstdint>
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

  static constexpr uint32_t kMostSteps = 100000;  // more than any sensible pattern needs
  // Whether the text holds a match; nullopt if finding out takes more than so many steps.
  std::optional<bool> matches(std::string_view text, uint32_t most_steps = kMostSteps) const;

 private:
  struct Code;
  explicit Pattern(std::shared_ptr<const Code> code) : code_(std::move(code)) {}

  std::shared_ptr<const Code> code_;
};

}  // namespace lora
