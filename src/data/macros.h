// SillyTavern's macros: {{user}}, {{char}} and the like in messages and character cards.
//
// Names have any case and no spaces around them; <USER>, <BOT>, <CHAR>, <GROUP> and <CHARIFNOTGROUP> are the
// older spelling. Inner ones come first. Without values of their own:
//
//   {{newline}} {{noop}}                                  a line end; nothing
//   {{trim}}                                              nothing, with the line ends around it
//   {{// remark}} {{comment: remark}} {{hidden_key: x}}   nothing
//
// All others stay as they are and are counted: those that stand for time, chance, variables or settings, and
// those that are none, which may be meant as they stand (as code, say).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace lora {

// By names in lower case.
using MacroValues = std::map<std::string, std::string, std::less<>>;

struct LeftMacros {
  static constexpr size_t kMostNames = 100;
  std::map<std::string, int64_t> counts;  // by name, printable, without what follows it; the first kMostNames
  bool more = false;                      // there were others
  std::string unknowable;                 // the first that is SillyTavern's, "" if none
};

// Throws Error if filling makes the text longer by more than 16 MiB.
std::string fill_macros(std::string_view text, const MacroValues& values, LeftMacros& left);

}  // namespace lora
