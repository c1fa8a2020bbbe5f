#include "cli/config_file.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>
#include <sstream>
#include <string_view>

#include "base/error.h"
#include "base/printable.h"
#include "cli/commands.h"
#include "data/text_file.h"

namespace lora::cli {

namespace {

// Cuts "# ..." off a line unless it stands in quotes. CLI11 2.1 does not look at the quotes, and
// would cut the value "### Response:" short. nullopt: a quote is open at its end.
std::optional<std::string_view> without_comment(std::string_view line) {
  char quote = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote == '"' && c == '\\') {
      ++i;
    } else if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '#') {
      return line.substr(0, i);
    }
  }
  if (quote != 0) return std::nullopt;
  return line;
}

// CLI11 copies the name of a section to each of its entries.
constexpr size_t kMaxBytes = 1 << 20, kMaxSectionBytes = 200;

}  // namespace

std::vector<ConfigEntry> read_config_file(const std::string& path, const std::string& command) {
  const TextFile file(path);
  if (file.text().size() > kMaxBytes) {
    fail("{}: {} bytes, expected the flags of a command in {} at most", path, file.text().size(), kMaxBytes);
  }
  std::istringstream in{std::string(file.text())};
  std::stringstream text;
  int64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    const auto kept = without_comment(line);
    ++number;
    if (!kept) fail("{}: line {}: a quote is not closed", path, number);
    if (kept->starts_with('[') && kept->size() > kMaxSectionBytes) {
      fail("{}: line {}: the name of a section has more than {} bytes", path, number, kMaxSectionBytes);
    }
    text << *kept << '\n';
  }

  CLI::ConfigTOML reader;
  reader.comment('\0');
  std::vector<CLI::ConfigItem> items;
  try {
    items = reader.from_config(text);
  } catch (const CLI::Error& e) {
    fail("{}: not a TOML or INI file: {}", path, e.what());
  }
  std::vector<ConfigEntry> entries;
  for (const CLI::ConfigItem& item : items) {
    if (item.name == "++" || item.name == "--") continue;  // CLI11's marks of a section's begin and end
    if (!item.parents.empty() && item.parents != std::vector<std::string>{command}) {
      const std::vector<std::string> commands = command_names();  // whose flags are not this one's
      if (item.parents.size() == 1 && std::ranges::count(commands, item.parents[0]) > 0) continue;
      fail("{}: [{}]: no section of flags: they stand at the top, or below [{}]", path,
           printable(fmt::format("{}", fmt::join(item.parents, "."))), command);
    }
    entries.push_back({item.name, item.inputs});
  }
  return entries;
}

}  // namespace lora::cli
