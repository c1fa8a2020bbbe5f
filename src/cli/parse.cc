#include "cli/parse.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/machine.h"
#include "base/plural.h"
#include "cli/aliases.h"
#include "cli/config_file.h"
#include "cli/help.h"
#include "cli/put.h"
#include "cli/suggest.h"

namespace lora::cli {

namespace {

using Values = std::vector<std::string>;

// A row of the table, and what CLI11 knows it as.
struct Row {
  const Flag* flag = nullptr;
  Values names{};  // all that it is known by, aliases included
  CLI::Option* option = nullptr;
  size_t n_read = 0;  // of option->results()
};

void set(const Row& row, const Values& values, const std::string& where = "") {
  const std::string name = main_name(*row.flag);
  try {
    row.flag->setting.set(values);
  } catch (const BadValue& e) {
    throw UsageError(fmt::format("{}{}: {}", where, name, e.what()));
  }
}

CLI::Option* add_option(CLI::App& app, const Flag& flag, const Values& all_names) {
  const Setting& s = flag.setting;
  const std::string names = fmt::format("{}", fmt::join(all_names, ","));
  if (s.n_values == 0 && !s.ignores_value) return app.add_flag(names);
  CLI::Option* option = app.add_option(names, CLI::callback_t([](const CLI::results_t&) { return true; }));
  // Positional arguments, one or more, and flags that take all that follow.
  const bool is_list = s.several || (s.repeatable && !flag.names.starts_with("-"));
  option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->allow_extra_args(is_list);
  if (s.ignores_value) return option->type_size(1)->expected(0, 1);
  return option->type_size(s.n_values)->expected(1);
}

// --lora_r is --lora-r.
Row* find_row(std::vector<Row>& rows, const std::string& given) {
  const std::string name = with_dashes(given);
  for (Row& row : rows) {
    if (std::find(row.names.begin(), row.names.end(), name) != row.names.end()) return &row;
  }
  return nullptr;
}

[[noreturn]] void refuse_unknown(const std::vector<Row>& rows, const CommandLine& line,
                                 const std::string& name, const std::string& where = "") {
  std::string hint = flag_hint(line.command, name);
  if (hint.empty()) {
    std::vector<std::string> known;
    for (const Row& row : rows) {
      for (const std::string& n : row.names) {
        if (n.starts_with("-")) known.push_back(n);
      }
    }
    std::string near = nearest(name, known);
    for (const Row& row : rows) {  // an alias leads to the name that --help lists
      const Values own = names_of(*row.flag);
      const bool is_alias = std::find(row.names.begin(), row.names.end(), near) != row.names.end() &&
                            std::find(own.begin(), own.end(), near) == own.end();
      if (is_alias && main_name(*row.flag).starts_with("-")) near = main_name(*row.flag);
    }
    hint = near.empty() ? fmt::format("lora {} {} lists those it has", line.command, full_help_flag(line))
                        : fmt::format("did you mean {}?", near);
  }
  throw UsageError(fmt::format("{}{}: unknown flag; {}", where, name, hint));
}

[[noreturn]] void refuse_extra(const std::vector<Row>& rows, const CommandLine& line,
                               const std::string& argument) {
  if (argument.size() < 2 || argument[0] != '-') {
    throw UsageError(fmt::format("'{}': unexpected argument; a value stands behind its flag ({} lists them)",
                                 argument, full_help_flag(line)));
  }
  refuse_unknown(rows, line, argument.substr(0, argument.find('=')));
}

// The occurrences that a value in the short form stands for; none if it is not: FILE:SCALE with a number
// behind it is the name of a file.
std::vector<Values> short_form(const Setting& setting, const Values& values, size_t i) {
  const bool is_followed = i + 1 < values.size() && is_number(values[i + 1]);
  return setting.in_one && !is_followed ? setting.in_one(values[i]) : std::vector<Values>();
}

// Values of one entry as occurrences of the flag: an array repeats it.
std::vector<Values> config_occurrences(const Row& row, const ConfigEntry& entry, const std::string& path) {
  const size_t n = size_t(std::max(1, row.flag->setting.n_values));
  const Setting& s = row.flag->setting;
  std::vector<Values> all;
  for (size_t i = 0; i < entry.values.size();) {
    if (const std::vector<Values> in_one = short_form(s, entry.values, i); !in_one.empty()) {
      all.insert(all.end(), in_one.begin(), in_one.end());
      ++i;
    } else {
      const size_t end = std::min(i + n, entry.values.size());
      all.emplace_back(entry.values.begin() + long(i), entry.values.begin() + long(end));
      i = end;
    }
  }
  const bool is_whole = !all.empty() && all.back().size() == n && (all.size() == 1 || s.repeatable);
  if (!is_whole) {
    throw UsageError(fmt::format("{}: {}: expected {}, found {}; a text with spaces or commas needs quotes",
                                 path, entry.name, count_of(int64_t(n), "value"), entry.values.size()));
  }
  return all;
}

void set_from_config(std::vector<Row>& rows, const std::string& path, const CommandLine& line, Given& given) {
  for (const ConfigEntry& entry : read_config_file(path, line.command)) {
    if (entry.name.find_first_of(" \t") != std::string::npos)
      throw UsageError(fmt::format("{}: '{}': expected NAME = VALUE", path, entry.name));
    const std::string name = (entry.name.size() == 1 ? "-" : "--") + entry.name;
    Row* found = find_row(rows, name);
    if (name == "--config" || name == "--help" || name == "--help-all")
      throw UsageError(fmt::format("{}: {}: stands on the command line only", path, name));
    if (!found) refuse_unknown(rows, line, name, path + ": ");
    Source& source = given.sources[main_name(*found->flag)];
    if (source == Source::command_line) continue;
    source = Source::config_file;
    for (const Values& values : config_occurrences(*found, entry, path)) set(*found, values, path + ": ");
  }
}

// Arguments as CLI11 reads them rightly. It takes "--name=" for a flag whose value is the next argument, and
// "-c=64" for -c with the value "=64": the value becomes an argument of its own. What is the value of a flag
// before it stays as it is. A positional argument that is given by a flag's name (quantize --output FILE)
// goes first, since the others would take its place.
Values with_values_apart(const Values& args, std::vector<Row>& rows) {
  Values first, result;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    const size_t equals = arg.find('=');
    const Row* row = arg.starts_with("-") ? find_row(rows, arg.substr(0, equals)) : nullptr;
    Values& to = row && !main_name(*row->flag).starts_with("-") ? first : result;
    const bool is_empty = arg.starts_with("--") && equals == arg.size() - 1;
    const bool is_short = arg.size() > 2 && arg[0] == '-' && arg[1] != '-' && equals == 2 && row != nullptr;
    const std::string name = row ? with_dashes(arg.substr(0, equals)) : arg.substr(0, equals);
    if (is_empty || is_short) {
      to.push_back(name);
      to.push_back(arg.substr(equals + 1));
      continue;
    }
    to.push_back(equals == std::string::npos ? name : name + arg.substr(equals));
    if (row == nullptr || equals != std::string::npos || row->flag->setting.ignores_value) continue;
    for (int k = 0; k < row->flag->setting.n_values && i + 1 < args.size(); ++k) to.push_back(args[++i]);
  }
  first.insert(first.end(), result.begin(), result.end());
  return first;
}

// "--lora-scaled FILE:SCALE" as "--lora-scaled FILE SCALE", which CLI11 knows by the number of its values.
Values with_short_forms_spelled_out(std::vector<Row>& rows, const Values& args) {
  Values result;
  const auto spell_out = [&](const std::string& name, const Values& values, size_t i) {
    const Row* row = find_row(rows, name);
    if (row == nullptr) return false;
    const std::vector<Values> occurrences = short_form(row->flag->setting, values, i);
    for (const Values& one : occurrences) {
      result.push_back(name);
      result.insert(result.end(), one.begin(), one.end());
    }
    return !occurrences.empty();
  };
  for (size_t i = 0; i < args.size(); ++i) {
    const size_t equals = args[i].starts_with("--") ? args[i].find('=') : std::string::npos;
    if (equals != std::string::npos) {
      Values after(args.begin() + long(i), args.end());
      after[0].erase(0, equals + 1);
      if (spell_out(args[i].substr(0, equals), after, 0)) continue;
    } else if (i + 1 < args.size() && spell_out(args[i], args, i + 1)) {
      ++i;
      continue;
    }
    result.push_back(args[i]);
  }
  return result;
}

// "--ctx: 1 required TEXT missing" and its like, in words.
[[noreturn]] void refuse_missing_value(const std::vector<Row>& rows, const std::string& message) {
  const std::string name = message.substr(0, message.find(':'));
  for (const Row& row : rows) {
    if (std::find(row.names.begin(), row.names.end(), name) != row.names.end()) {
      throw UsageError(fmt::format("{}: expected {} after it", name, row.flag->value));
    }
  }
  throw UsageError(message);
}

// The flags of the command line in the order they stand in, each with its values.
std::vector<std::pair<const Row*, Values>> in_order(const CLI::App& app, std::vector<Row>& rows) {
  std::vector<std::pair<const Row*, Values>> result;
  for (const CLI::Option* option : app.parse_order()) {  // one element per value
    Row& row = *std::find_if(rows.begin(), rows.end(), [&](const Row& r) { return r.option == option; });
    const size_t n = size_t(std::max(1, row.flag->setting.n_values));
    if (row.n_read % n == 0) result.push_back({&row, {}});
    result.back().second.push_back(row.flag->setting.ignores_value ? "true"
                                                                   : option->results().at(row.n_read));
    ++row.n_read;
  }
  return result;
}

// Threads beyond the cores wait for those that have one, and all for the slowest.
void warn_about_threads(const std::vector<Row>& rows, const Given& given) {
  if (given.source("--threads") == Source::nowhere) return;
  for (const Row& row : rows) {
    if (main_name(*row.flag) != "--threads") continue;
    const int64_t n_threads = parse_integer(row.flag->setting.show(), 0, kAnyCount);
    const int n_cores = physical_cores();
    if (n_threads <= n_cores) return;
    say(stderr, fmt::format("warning: --threads {}: this process has {}; more threads than cores are slower",
                            n_threads, count_of(n_cores, "core")));
  }
}

}  // namespace

Source Given::source(const std::string& name) const {
  const auto found = sources.find(name);
  return found == sources.end() ? Source::nowhere : found->second;
}

Given parse_flags(const CommandLine& line, const Values& args) {
  Given given;
  std::string config;
  const FlagGroup common = common_flags(given.help, given.help_all, config);
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  app.allow_windows_style_options(false);  // "/models/a.gguf" is a path there, too
  std::vector<Row> rows;
  const auto add_group = [&](const FlagGroup& group) {
    for (const Flag& flag : group.flags) {
      Values names = names_of(flag);
      for (std::string& alias : aliases_of(flag, line.groups)) names.push_back(std::move(alias));
      CLI::Option* option = add_option(app, flag, names);
      rows.push_back({&flag, std::move(names), option});
    }
  };
  for (const FlagGroup& group : line.groups) add_group(group);
  add_group(common);

  Values reversed = with_values_apart(with_short_forms_spelled_out(rows, args), rows);
  std::reverse(reversed.begin(), reversed.end());
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& e) {
    refuse_missing_value(rows, e.what());
  }
  const auto occurrences = in_order(app, rows);
  for (const auto& [row, values] : occurrences) {
    given.sources[main_name(*row->flag)] = Source::command_line;
    const bool is_common =
        std::ranges::any_of(common.flags, [&row = row](const Flag& f) { return row->flag == &f; });
    if (is_common) set(*row, values);
  }
  given.help = given.help || given.help_all;
  if (given.help) return given;
  for (const std::string& argument : app.remaining()) {
    if (argument == "--") continue;
    // A flag that lacks one of its values has taken the next flag for it, and left that one's over.
    for (const auto& [row, values] : occurrences) {
      if (row->flag->setting.n_values > 1) set(*row, values);
    }
    refuse_extra(rows, line, argument);
  }

  if (!config.empty()) set_from_config(rows, config, line, given);
  for (const auto& [row, values] : occurrences) set(*row, values);
  for (const Row& row : rows) {
    const std::string name = main_name(*row.flag);
    if (row.flag->required && given.source(name) == Source::nowhere) {
      throw UsageError(fmt::format("{}: required; see lora {} --help", name, line.command));
    }
  }
  warn_about_threads(rows, given);
  return given;
}

}  // namespace lora::cli
