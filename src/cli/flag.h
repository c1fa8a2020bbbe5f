// A command's flags as a table: one row per flag says its names, meaning and default, and where its value
// goes. Parsing and --help read the same rows.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/date.h"
#include "cli/values.h"
#include "convert/mixes.h"
#include "generate/options.h"

namespace lora::cli {

// Where a flag's value goes.
struct Setting {
  // Gets the values of one occurrence of the flag; throws BadValue.
  std::function<void(const std::vector<std::string>& values)> set;
  // What is set now, as text. Called before parsing, it is the default that --help shows.
  std::function<std::string()> show;
  int n_values = 1;            // 0: a switch
  bool repeatable = false;     // each occurrence adds to the ones before
  bool ignores_value = false;  // a value may follow the switch and means nothing
  std::string default_text{};  // shown by --help in place of show()
  // The occurrences, each with its n_values, that one value stands for; none if it is no such short form.
  std::function<std::vector<std::vector<std::string>>(const std::string&)> in_one{};
  bool several = false;  // each value up to the next flag is an occurrence of this one
  // The values that are set now, as they would be given again, none where nothing is set. Empty: show() is
  // it.
  std::function<std::vector<std::string>()> values{};

  // The default in words, for values like "0: automatic".
  Setting or_else(std::string words) const;
  std::vector<std::string> values_now() const;
};

Setting text(std::string& target);
Setting text(std::optional<std::string>& target);
Setting non_empty_text(std::string& target);
Setting texts(
    std::vector<std::string>& target);  // may be repeated; the first occurrence replaces the default
Setting files(std::vector<std::string>& target);  // the same, and as many as stand behind one another
Setting integer(int64_t& target, int64_t min, int64_t max = kAnyCount);
Setting integer(int& target, int64_t min, int64_t max);
Setting integer(std::optional<int64_t>& target, int64_t min, int64_t max = kAnyCount);
Setting number(double& target, NumberRange range = {});
Setting number(std::optional<double>& target, NumberRange range = {});
Setting size(uint64_t& target);                 // bytes; "auto" is 0
Setting date(std::optional<DateTime>& target);  // YYYY-MM-DD
// Of a command that trains, int8 too.
Setting precision(Precision& target, bool trains = false);
Setting cache_type(Type& target);                                     // of keys and values
Setting one_of(std::string& target, std::vector<std::string> words);  // in any case; two words or more
// FILE, scale 1; FILE,FILE,... as in llama.cpp, unless that is the name of a file.
Setting lora_file(std::vector<LoraFile>& target);
Setting scaled_lora_file(std::vector<LoraFile>& target);  // FILE SCALE; FILE:SCALE,... as in llama.cpp
// A type that `lora quantize` makes; with or_keep also "keep", which is nullptr and the default.
Setting mix(const Mix*& target, bool or_keep = false);
// A switch: present, or true in a config file, it sets `value`; false sets its opposite.
Setting turn(bool& target, bool value = true);
// One of two words, of which the second sets the target.
Setting either(bool& target, std::string when_false, std::string when_true);
// A switch that sets one of several values; false leaves the target alone.
template <class T>
Setting choose(T& target, T value) {
  return {[&target, value](const std::vector<std::string>& values) {
            if (parse_bool(values.at(0))) target = value;
          },
          [&target, value] { return std::string(target == value ? "on" : "off"); }, 0};
}
Setting ignoring_value(Setting setting);  // of a switch

struct Flag {
  std::string names;  // "-c,--ctx"; a name without dashes is a positional argument
  std::string value;  // what --help calls the value; "" for a switch
  std::string unit;   // of the value, "" if none
  std::string help;
  Setting setting;
  bool required = false;
  bool is_main = false;  // one of the twenty that --help shows of a long list (help.h)
};
inline constexpr bool kRequired = true, kOptional = false, kMain = true;  // at the end of a row

// All names of a flag, and the one that messages use: the first long one.
std::vector<std::string> names_of(const Flag& flag);
std::string main_name(const Flag& flag);

struct FlagGroup {
  std::string title;
  std::vector<Flag> flags;
};

// What every command has beside its own flags.
FlagGroup common_flags(bool& help, bool& help_all, std::string& config);

struct CommandLine {
  std::string command;  // "finetune"
  std::string usage;    // what follows "lora finetune "
  std::string summary;  // a line or more for --help
  std::vector<FlagGroup> groups;
};

}  // namespace lora::cli
