#include "cli/help.h"

#include <fmt/format.h>

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

std::string wrap(const std::string& text, size_t width, size_t indent) {
  std::string result;
  size_t column = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (column > 0 && column + 1 + word.size() > width) {
      result += '\n';
      result.append(indent, ' ');
      column = 0;
    } else if (column > 0) {
      result += ' ';
      ++column;
    }
    result += word;
    column += word.size();
    begin = end + 1;
  }
  return result;
}

std::string help_page(const CommandLine& line) {
  bool help = false;
  std::string config, page = fmt::format("usage: lora {} {}\n\n{}\n", line.command, line.usage,
                                         wrap(line.summary, kPageWidth, 0));
  std::vector<FlagGroup> groups = line.groups;
  groups.push_back(common_flags(help, config));
  for (const FlagGroup& group : groups) {
    std::string rows;
    for (const Flag& flag : group.flags) rows += row_of(flag);
    if (!rows.empty()) page += "\n" + group.title + "\n" + rows;
  }
  return page;
}

}  // namespace lora::cli
