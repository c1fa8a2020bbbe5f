// What people type who come from other programs: names that stand for one of ours where the meaning is the
// same, and words that get an answer of their own where it is not. Neither is listed by --help.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/flag.h"

namespace lora::cli {

// A flag's further names among those that no flag of the command has itself.
std::vector<std::string> aliases_of(const Flag& flag, const std::vector<FlagGroup>& groups);

// What to say about an unknown flag of a command, e.g. "did you mean --lora-out?"; "" if nothing is known of
// it.
std::string flag_hint(std::string_view command, std::string_view flag);

struct CommandAlias {
  std::string_view name, command;
  std::string_view flag = "";  // given to it
  bool is_program = false;     // the program may be started under this name, too
};
const CommandAlias* find_command_alias(std::string_view name);  // nullptr: none
// The same for an unknown command.
std::string command_hint(std::string_view command);

}  // namespace lora::cli
