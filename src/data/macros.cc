#include "data/macros.h"

#include <algorithm>
#include <vector>

#include "base/ascii.h"
#include "base/error.h"
#include "base/printable.h"

namespace lora {
namespace {

constexpr size_t kMostMoreBytes = 16 << 20;
constexpr size_t kLongestName = 40;  // of a macro

// What stands for something that no file says: when the message was sent, what was drawn, what a variable
// held, how SillyTavern was set up.
constexpr std::string_view kUnknowable[] = {
    // clang-format off
    "time", "date", "weekday", "isotime", "isodate", "datetimeformat", "timediff", "idle_duration",
    "idleduration",
    "random", "pick", "roll",
    "getvar", "setvar", "addvar", "incvar", "decvar", "hasvar", "deletevar", "getglobalvar", "setglobalvar",
    "addglobalvar", "incglobalvar", "decglobalvar", "hasglobalvar", "deleteglobalvar", "var",
    "persona", "original", "input", "model", "summary", "banned", "bias", "maxprompt", "outlet",
    "lastmessage", "lastmessageid", "lastusermessage", "lastcharmessage", "lastswipeid", "currentswipeid",
    "firstincludedmessageid", "firstdisplayedmessageid", "lastgenerationtype", "notchar", "groupnotmuted",
    "systemprompt", "defaultsystemprompt", "charjailbreak", "authorsnote", "charauthorsnote",
    "defaultauthorsnote", "exampleseparator", "chatseparator", "chatstart", "reasoningprefix",
    "reasoningsuffix", "reasoningseparator",
    // clang-format on
};

struct LegacyRow {
  std::string_view text, name;
};
constexpr LegacyRow kLegacy[] = {{"<user>", "user"},
                                 {"<bot>", "char"},
                                 {"<char>", "char"},
                                 {"<group>", "group"},
                                 {"<charifnotgroup>", "charifnotgroup"}};

bool is_unknowable(std::string_view name) {
  return std::ranges::find(kUnknowable, name) != std::end(kUnknowable) || name.starts_with("time_utc") ||
         name.starts_with("instruct");
}

class Filler {
 public:
  Filler(std::string_view text, const MacroValues& values, LeftMacros& left)
      : text_(text), values_(values), left_(left) {}

  std::string run() {
    out_.reserve(text_.size());
    while (at_ < text_.size()) {
      const std::string_view rest = text_.substr(at_);
      if (rest.starts_with("{{") && !rest.starts_with("{{{")) {
        open_.push_back(out_.size());
        copy(2);
      } else if (rest.starts_with("}}") && !open_.empty()) {
        copy(2);
        close();
      } else if (!(rest[0] == '<' && take_legacy(rest))) {
        copy(std::min(rest.find_first_of("{}<", 1), rest.size()));
      }
    }
    return std::move(out_);
  }

 private:
  void copy(size_t n) {
    out_ += text_.substr(at_, n);
    at_ += n;
  }

  void put(std::string_view value) {
    out_ += value;
    if (out_.size() > text_.size() + kMostMoreBytes) fail("its macros make it longer by more than 16 MiB");
  }

  bool take_legacy(std::string_view rest) {
    for (const LegacyRow& row : kLegacy) {
      if (!equal_in_any_case(rest.substr(0, row.text.size()), row.text)) continue;
      const auto value = values_.find(row.name);
      if (value == values_.end()) return false;
      put(value->second);
      at_ += row.text.size();
      return true;
    }
    return false;
  }

  // What is written ends with a macro; where its value is known, that takes its place.
  void close() {
    const size_t begin = open_.back();
    open_.pop_back();
    const std::string_view inner = std::string_view(out_).substr(begin + 2, out_.size() - begin - 4);
    const std::string head = lower_case(inner.substr(0, kLongestName + 1));  // enough to tell
    const bool is_remark =
        head.starts_with("//") || head.starts_with("comment:") || head.starts_with("hidden_key:");
    if (is_remark || head == "noop" || head == "trim") {
      out_.resize(begin);
      if (head == "trim") trim();
    } else if (head == "newline") {
      out_.resize(begin);
      put("\n");
    } else if (const auto value = values_.find(head); value != values_.end()) {
      out_.resize(begin);
      put(value->second);
    } else {
      count(head, inner);
    }
  }

  void trim() {
    while (out_.ends_with('\n')) out_.pop_back();
    while (at_ < text_.size() && text_[at_] == '\n') ++at_;
  }

  void count(std::string_view head, std::string_view inner) {
    const size_t n_name = head.find_first_of(": \n{}");
    const bool is_known = is_unknowable(head.substr(0, n_name));
    if (is_known && left_.unknowable.empty()) left_.unknowable = head.substr(0, n_name);
    const std::string name = printable(n_name == 0 ? inner : inner.substr(0, n_name), kLongestName);
    const bool has_room = left_.counts.size() < LeftMacros::kMostNames || left_.counts.contains(name);
    if (has_room) ++left_.counts[name];
    left_.more |= !has_room;
  }

  std::string_view text_;
  const MacroValues& values_;
  LeftMacros& left_;
  size_t at_ = 0;             // in text_
  std::string out_;           // what of it is filled in
  std::vector<size_t> open_;  // where {{ stands in it whose }} is to come
};

}  // namespace

std::string fill_macros(std::string_view text, const MacroValues& values, LeftMacros& left) {
  return Filler(text, values, left).run();
}

}  // namespace lora
