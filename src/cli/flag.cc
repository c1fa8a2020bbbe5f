#include "cli/flag.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/ascii.h"
#include "base/file.h"

namespace lora::cli {

namespace {

using Values = std::vector<std::string>;

template <class T>
std::string show_optional(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : "";
}

struct PrecisionName {
  const char* name;
  Precision value;
};
constexpr PrecisionName kPrecisions[] = {{"f32", Precision::f32},
                                         {"bf16", Precision::bf16},
                                         {"int8", Precision::int8},
                                         {"auto", Precision::automatic}};

Values split(const std::string& text, char separator) {
  Values parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// "FILE:SCALE,FILE:SCALE" as {FILE, SCALE} pairs; none if it is not of this form. A name may hold commas and
// colons: what follows the last colon is the scale, and a part without one belongs to the name behind it.
std::vector<Values> files_and_scales(const std::string& text) {
  std::vector<Values> pairs;
  std::string name;
  for (const std::string& part : split(text, ',')) {
    name += part;
    const size_t colon = name.rfind(':');
    const bool ends_in_scale = colon != std::string::npos && colon > 0 && is_number(name.substr(colon + 1));
    if (ends_in_scale) {
      pairs.push_back({name.substr(0, colon), name.substr(colon + 1)});
      name.clear();
    } else {
      name += ',';
    }
  }
  if (!name.empty()) pairs.clear();
  return pairs;
}

}  // namespace

Setting Setting::or_else(std::string words) const {
  Setting copy = *this;
  copy.default_text = std::move(words);
  return copy;
}

std::vector<std::string> Setting::values_now() const {
  if (values) return values();
  std::string shown = show();
  if (shown.empty()) return {};
  return {std::move(shown)};
}

Setting text(std::string& target) {
  Setting setting{[&target](const Values& v) { target = v.at(0); },
                  [&target] { return target.empty() ? "" : fmt::format("'{}'", target); }};
  setting.values = [&target] { return Values{target}; };
  return setting;
}

Setting text(std::optional<std::string>& target) {
  Setting setting{[&target](const Values& v) { target = v.at(0); },
                  [&target] { return target ? fmt::format("'{}'", *target) : ""; }};
  setting.values = [&target] { return target ? Values{*target} : Values(); };
  return setting;
}

Setting non_empty_text(std::string& target) {
  Setting setting = text(target);
  setting.set = [&target](const Values& v) {
    if (v.at(0).empty()) throw BadValue("expected a text that is not empty");
    target = v[0];
  };
  return setting;
}

Setting texts(std::vector<std::string>& target) {
  auto replaced = std::make_shared<bool>(false);
  Setting setting{[&target, replaced](const Values& v) {
                    if (v.at(0).empty()) throw BadValue("expected a text that is not empty");
                    if (!*replaced) target.clear();
                    *replaced = true;
                    target.push_back(v[0]);
                  },
                  [&target] { return fmt::format("{}", fmt::join(target, ", ")); }, 1, true};
  setting.values = [&target] { return target; };
  return setting;
}

Setting files(std::vector<std::string>& target) {
  Setting setting = texts(target);
  setting.several = true;
  return setting;
}

Setting integer(int64_t& target, int64_t min, int64_t max) {
  return {[&target, min, max](const Values& v) { target = parse_integer(v.at(0), min, max); },
          [&target] { return fmt::format("{}", target); }};
}

Setting integer(int& target, int64_t min, int64_t max) {
  return {[&target, min, max](const Values& v) { target = int(parse_integer(v.at(0), min, max)); },
          [&target] { return fmt::format("{}", target); }};
}

Setting integer(std::optional<int64_t>& target, int64_t min, int64_t max) {
  return {[&target, min, max](const Values& v) { target = parse_integer(v.at(0), min, max); },
          [&target] { return show_optional(target); }};
}

Setting number(double& target, NumberRange range) {
  return {[&target, range](const Values& v) { target = parse_number(v.at(0), range); },
          [&target] { return fmt::format("{}", target); }};
}

Setting number(std::optional<double>& target, NumberRange range) {
  return {[&target, range](const Values& v) { target = parse_number(v.at(0), range); },
          [&target] { return show_optional(target); }};
}

Setting date(std::optional<DateTime>& target) {
  return {[&target](const Values& v) {
            target = parse_date(v.at(0));
            if (!target) throw BadValue(fmt::format("expected a date as 2026-11-28, found '{}'", v[0]));
          },
          [&target] { return target ? date_text(*target) : "today"; }};
}

Setting size(uint64_t& target) {
  Setting setting{
      [&target](const Values& v) { target = lower_case(v.at(0)) == "auto" ? 0 : parse_size(v[0]); },
      [&target] { return target == 0 ? "auto" : format_size(target); }};
  setting.values = [&target] { return Values{target == 0 ? "auto" : fmt::format("{}", target)}; };
  return setting;
}

Setting one_of(std::string& target, std::vector<std::string> words) {
  return {[&target, words](const Values& v) {
            target = lower_case(v.at(0));
            if (std::find(words.begin(), words.end(), target) != words.end()) return;
            throw BadValue(fmt::format("expected {} or {}, found '{}'",
                                       fmt::join(words.begin(), words.end() - 1, ", "), words.back(), v[0]));
          },
          [&target] { return target; }};
}

Setting cache_type(Type& target) {
  return {[&target](const Values& v) {
            constexpr Type kKnown[] = {Type::F32, Type::F16, Type::Q8_0};
            const TypeTraits* found = find_type(v.at(0));
            if (!found || std::ranges::find(kKnown, found->type) == std::end(kKnown))
              throw BadValue(fmt::format("expected f16, q8_0 or f32, found '{}'", v[0]));
            target = found->type;
          },
          [&target] { return lower_case(traits(target).name); }};
}

Setting precision(Precision& target, bool trains) {
  return {
      [&target, trains](const Values& v) {
        for (const PrecisionName& p : kPrecisions) {
          if (lower_case(v.at(0)) == p.name && (trains || p.value != Precision::int8)) {
            target = p.value;
            return;
          }
        }
        throw BadValue(fmt::format("expected f32, bf16{} or auto, found '{}'", trains ? ", int8" : "", v[0]));
      },
      [&target] {
        const auto* row = std::find_if(std::begin(kPrecisions), std::end(kPrecisions),
                                       [&](const PrecisionName& p) { return p.value == target; });
        return std::string(row->name);
      }};
}

Setting lora_file(std::vector<LoraFile>& target) {
  return {[&target](const Values& v) {
            const std::string& names = v.at(0);
            const bool is_one = file_exists(names) || is_directory(names);
            for (const std::string& name : is_one ? Values{names} : split(names, ',')) {
              if (name.empty())
                throw BadValue(fmt::format("expected FILE or FILE,FILE,..., found '{}'", names));
              target.push_back({name, 1});
            }
          },
          [] { return std::string(); }, 1, true};
}

Setting scaled_lora_file(std::vector<LoraFile>& target) {
  Setting setting = {
      [&target](const Values& v) {
        if (v.at(0).empty()) throw BadValue("expected FILE:SCALE or FILE SCALE, found no FILE");
        if (!is_number(v.at(1))) {
          throw BadValue(fmt::format(
              "expected a number as the SCALE of FILE:SCALE or FILE SCALE, found '{}' '{}'", v[0], v[1]));
        }
        target.push_back({v[0], parse_number(v[1], {})});
      },
      [] { return std::string(); }, 2, true};
  setting.in_one = files_and_scales;
  return setting;
}

Setting mix(const Mix*& target, bool or_keep) {
  return {[&target, or_keep](const Values& v) {
            target = find_mix(v.at(0));
            if (target || (or_keep && lower_case(v[0]) == "keep")) return;
            const TypeTraits* type = find_type(v[0]);
            throw BadValue(fmt::format(
                "expected {}one of {}, found '{}'{}", or_keep ? "keep or " : "", fmt::join(mix_names(), " "),
                v[0], type && type->decode && !type->encode ? ", which is read, not written" : ""));
          },
          [or_keep] { return std::string(or_keep ? "keep" : ""); }};
}

Setting turn(bool& target, bool value) {
  return {[&target, value](const Values& v) { target = parse_bool(v.at(0)) == value; },
          [&target, value] { return std::string(target == value ? "on" : "off"); }, 0};
}

Setting either(bool& target, std::string when_false, std::string when_true) {
  return {[&target, when_false, when_true](const Values& v) {
            const std::string word = lower_case(v.at(0));
            if (word != when_false && word != when_true) {
              throw BadValue(fmt::format("expected {} or {}, found '{}'", when_false, when_true, v[0]));
            }
            target = word == when_true;
          },
          [&target, when_false, when_true] { return target ? when_true : when_false; }};
}

Setting ignoring_value(Setting setting) {
  setting.ignores_value = true;
  return setting;
}

FlagGroup common_flags(bool& help, bool& help_all, std::string& config) {
  return {"General",
          {{"--config", "FILE", "", "flags from a TOML or INI file; the command line wins", text(config)},
           {"-h,--help", "", "", "this page", turn(help)},
           {"--help-all", "", "", "every flag", turn(help_all)}}};
}

std::vector<std::string> names_of(const Flag& flag) {
  return split(flag.names, ',');
}

std::string main_name(const Flag& flag) {
  const std::vector<std::string> names = names_of(flag);
  const auto is_long = [](const std::string& name) { return name.starts_with("--"); };
  const auto first = std::find_if(names.begin(), names.end(), is_long);
  return first == names.end() ? names.front() : *first;
}

}  // namespace lora::cli
