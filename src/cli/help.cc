#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/wrap.h"

namespace lora::cli {

namespace {

constexpr size_t kPageWidth = 110;
constexpr size_t kHelpColumn = 34;

// "(default: 128 tokens)", "(required)", "(iterations)".
std::string default_of(const Flag& flag) {
  if (flag.required) return " (required)";
  const Setting& s = flag.setting;
  const std::string value = s.default_text.empty() ? s.show() : s.default_text;
  const bool has_default = !value.empty() && !(s.n_values == 0 && value == "off");
  const std::string unit = flag.unit.empty() || (has_default && !s.default_text.empty()) ? "" : flag.unit;
  if (has_default) return fmt::format(" (default: {}{}{})", value, unit.empty() ? "" : " ", unit);
  return unit.empty() ? "" : fmt::format(" ({})", unit);
}

std::string row_of(const Flag& flag) {
  std::string names = fmt::format("{}", fmt::join(names_of(flag), ", "));
  if (names.starts_with("--")) names = "    " + names;  // long names stand below each other
  if (names.front() != '-' && names.front() != ' ') {
    names = "  " + names;
  } else {
    names = "  " + names + (flag.value.empty() ? "" : " " + flag.value);
  }
  const bool fits = names.size() + 2 <= kHelpColumn;
  std::string gap = fits ? "" : "\n";
  gap.append(fits ? kHelpColumn - names.size() : kHelpColumn, ' ');
  return names + gap + wrap(flag.help + default_of(flag), kPageWidth - kHelpColumn, kHelpColumn) + "\n";
}

}  // namespace

bool is_long(const CommandLine& line) {
  constexpr size_t kMost = 50;
  size_t n = 0;
  bool any_main = false;
  for (const FlagGroup& group : line.groups) {
    n += group.flags.size();
    any_main = any_main || std::ranges::any_of(group.flags, &Flag::is_main);
  }
  return any_main && n > kMost;
}

const char* full_help_flag(const CommandLine& line) {
  return is_long(line) ? "--help-all" : "--help";
}

std::string help_page(const CommandLine& line, bool all) {
  const bool is_short = is_long(line) && !all;
  std::string page =
      fmt::format("usage: lora {} {}\n\n{}\n", line.command, line.usage, wrap(line.summary, kPageWidth, 0));
  size_t n_left_out = 0;
  const auto add_group = [&](const FlagGroup& group, const auto& is_shown) {
    std::string rows;
    for (const Flag& flag : group.flags) {
      if (is_shown(flag)) {
        rows += row_of(flag);
      } else {
        ++n_left_out;
      }
    }
    if (!rows.empty()) page += "\n" + group.title + "\n" + rows;
  };
  for (const FlagGroup& group : line.groups)
    add_group(group, [&](const Flag& flag) { return !is_short || flag.is_main; });
  const size_t n_others = n_left_out;
  bool help = false, help_all = false;
  std::string config;
  add_group(common_flags(help, help_all, config),
            [&](const Flag& flag) { return is_long(line) || main_name(flag) != "--help-all"; });
  if (is_short)
    page += fmt::format("\nlora {} --help-all lists the other {} flags too.\n", line.command, n_others);
  return page;
}

}  // namespace lora::cli
