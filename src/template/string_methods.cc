// What can be called on a str.
#include <algorithm>

#include "base/utf8.h"
#include "template/methods.h"
#include "template/operators.h"
#include "template/printing.h"
#include "template/text.h"

namespace lora::jinja {
namespace {

constexpr Parameters kChars = {kUnnamed}, kSub = {kUnnamed, kUnnamed, kUnnamed}, kSplit = {"sep", "maxsplit"},
                     kWidth = {kUnnamed, kUnnamed}, kOne = {kUnnamed};

Value list_of(const std::vector<std::string_view>& parts) {
  need_bytes(parts.size() * (sizeof(String) + sizeof(Value)));
  std::vector<Value> items(parts.begin(), parts.end());
  return Value::list(std::move(items));
}

template <std::string (*change)(std::string_view)>
Value changed(Call& call) {
  return change(call.self.text());
}
template <std::string_view (*cut)(std::string_view, const std::string_view*)>
Value stripped(Call& call) {
  const auto chars = call.maybe_text(0);
  return cut(call.self.text(), chars ? &*chars : nullptr);
}
template <std::vector<std::string_view> (*cut)(std::string_view, const std::string_view*, int64_t)>
Value parts(Call& call) {
  const auto separator = call.maybe_text(0);
  return list_of(cut(call.self.text(), separator ? &*separator : nullptr, call.integer(1, -1)));
}

// self[start:end] of the arguments 1 and 2, and how many characters stand before it.
struct Part {
  std::string_view text;
  int64_t before;
  bool is_outside;  // start is behind the end
};
Part part_of(Call& call) {
  const std::string_view text = call.self.text();
  if (!call.has(1) && !call.has(2)) return {text, 0, false};
  const int64_t size = count_characters(text);
  const auto bound = [&](size_t i, int64_t otherwise) {
    const int64_t index = call.integer(i, otherwise);
    return index < 0 ? std::max<int64_t>(index + size, 0) : index;
  };
  const int64_t start = bound(1, 0), end = std::min(bound(2, size), size);
  if (start > end) return {{}, start, true};
  const size_t from = byte_of_character(text, start);
  return {text.substr(from, byte_of_character(text, end) - from), start, false};
}

template <bool at_end>
Value begins(Call& call) {
  const Part part = part_of(call);
  const auto fits = [&](const Value& affix) {
    if (!affix.is_string())
      raise("TypeError", "{} first arg must be str or a tuple of str, not {}", call.name, type_name(affix));
    if (part.is_outside) return false;
    return at_end ? part.text.ends_with(affix.text()) : part.text.starts_with(affix.text());
  };
  if (!call[0]->is(Kind::list) || call[0]->items().shape != Shape::tuple) return fits(*call[0]);
  const std::vector<Value>& all = call[0]->items().items();
  return std::any_of(all.begin(), all.end(), fits);
}

template <bool from_right, bool must>
Value found(Call& call) {
  const Part part = part_of(call);
  const std::string_view what = call.text(0);
  spend(part.text.size() / 64);
  const size_t at = part.is_outside ? part.text.npos
                    : from_right    ? find_last(part.text, what)
                                    : find(part.text, what);
  if (at != part.text.npos) return part.before + count_characters(part.text.substr(0, at));
  if (must) raise("ValueError", "substring not found");
  return -1;
}

Value count(Call& call) {
  const Part part = part_of(call);
  const std::string_view what = call.text(0);
  if (part.is_outside) return 0;
  if (what.empty()) return count_characters(part.text) + 1;
  int64_t count = 0;
  for (size_t at = 0; (at = find(part.text, what, at)) != part.text.npos; at += what.size()) ++count;
  spend(part.text.size() / 16);
  return count;
}

Value replaced(Call& call) {
  return replace(call.self.text(), call.text(0), call.text(1), call.integer(2, -1));
}

Value joined(Call& call) {
  const Value items = items_of(*call[0]);
  std::string out;
  int64_t index = 0;
  for (const Value& item : items.items().items()) {
    if (!item.is_string())
      raise("TypeError", "sequence item {}: expected str instance, {} found", index, type_name(item));
    need_bytes(out.size() + call.self.text().size() + item.text().size());
    if (index++ > 0) out += call.self.text();
    out += item.text();
    spend();
  }
  return out;
}

template <bool from_right>
Value partition(Call& call) {
  const std::string_view text = call.self.text(), separator = call.text(0);
  if (separator.empty()) raise("ValueError", "empty separator");
  const size_t at = from_right ? find_last(text, separator) : find(text, separator);
  if (at == text.npos)
    return make_list(Shape::tuple,
                     from_right ? std::vector<Value>{"", "", text} : std::vector<Value>{text, "", ""});
  return make_list(Shape::tuple, {text.substr(0, at), separator, text.substr(at + separator.size())});
}

template <bool at_end>
Value without_affix(Call& call) {
  std::string_view text = call.self.text();
  const std::string_view affix = call.text(0);
  if (affix.empty() || !(at_end ? text.ends_with(affix) : text.starts_with(affix))) return call.self;
  text = at_end ? text.substr(0, text.size() - affix.size()) : text.substr(affix.size());
  return text;
}

// How many characters are missing to the width, and what fills them.
std::string filling(std::string_view fill, int64_t count) {
  if (count_characters(fill) != 1)
    raise("TypeError", "The fill character must be exactly one character long");
  count = std::max<int64_t>(count, 0);
  if (uint64_t(count) > kMostBytes / fill.size()) need_bytes(kMostBytes + 1);
  std::string out;
  need_bytes(size_t(count) * fill.size());
  for (int64_t i = 0; i < count; ++i) out += fill;
  return out;
}
int64_t missing(Call& call) {
  return std::max<int64_t>(call.integer(0), 0) - count_characters(call.self.text());
}
Value left_justified(Call& call) {
  return std::string(call.self.text()) + filling(call.text(1, " "), missing(call));
}
Value right_justified(Call& call) {
  return filling(call.text(1, " "), missing(call)) + std::string(call.self.text());
}
Value centered(Call& call) {
  const int64_t width = std::max<int64_t>(call.integer(0), 0), gap = std::max<int64_t>(missing(call), 0);
  const int64_t left = gap / 2 + (gap & width & 1);
  return filling(call.text(1, " "), left) + std::string(call.self.text()) +
         filling(call.text(1, " "), gap - left);
}
Value zero_filled(Call& call) {
  std::string_view text = call.self.text();
  std::string sign;
  const std::string zeros = filling("0", missing(call));
  if (text.starts_with('-') || text.starts_with('+')) {
    sign = text[0];
    text.remove_prefix(1);
  }
  return sign + zeros + std::string(text);
}

Value expanded_tabs(Call& call) {
  const int64_t size = call.integer(0, 8);
  if (size > 1000) raise("OverflowError", "not supported: a tab of {} columns", size);
  std::string out;
  int64_t column = 0;
  for (const std::string_view character : characters(call.self.text())) {
    need_bytes(out.size());
    if (character == "\t") {
      const int64_t gap = size > 0 ? size - column % size : 0;
      out.append(size_t(gap), ' ');
      column += gap;
      continue;
    }
    out += character;
    column = character == "\n" || character == "\r" ? 0 : column + 1;
  }
  return out;
}

template <bool (*is)(uint32_t)>
Value all_are(Call& call) {
  const std::string_view text = call.self.text();
  spend(text.size() / 8);
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    if (!is(step.code)) return false;
    at += step.size;
  }
  return !text.empty();
}
bool is_letter_or_digit(uint32_t code) {
  return is_letter(code) || is_digit(code);
}
bool is_ascii_code(uint32_t code) {
  return code < 0x80;
}

template <std::string (*change)(std::string_view), std::string (*back)(std::string_view)>
Value is_cased(Call& call) {
  const std::string_view text = call.self.text();
  return change(text) == text && back(text) != text;
}
Value is_title(Call& call) {
  return title(call.self.text()) == call.self.text() && upper(call.self.text()) != lower(call.self.text());
}

Value unsupported(Call& call) {
  raise("TypeError", "not supported: the method {} of a str", call.name);
}

const Method kMethods[] = {
    {"strip", kChars, 0, stripped<strip>},
    {"lstrip", kChars, 0, stripped<strip_left>},
    {"rstrip", kChars, 0, stripped<strip_right>},
    {"split", kSplit, 0, parts<split>},
    {"rsplit", kSplit, 0, parts<split_from_right>},
    {"splitlines",
     {"keepends"},
     0,
     [](Call& call) { return list_of(split_lines(call.self.text(), call.flag(0))); }},
    {"partition", kOne, 1, partition<false>},
    {"rpartition", kOne, 1, partition<true>},
    {"startswith", kSub, 1, begins<false>},
    {"endswith", kSub, 1, begins<true>},
    {"removeprefix", kOne, 1, without_affix<false>},
    {"removesuffix", kOne, 1, without_affix<true>},
    {"replace", kSub, 2, replaced},
    {"find", kSub, 1, found<false, false>},
    {"rfind", kSub, 1, found<true, false>},
    {"index", kSub, 1, found<false, true>},
    {"rindex", kSub, 1, found<true, true>},
    {"count", kSub, 1, count},
    {"join", kOne, 1, joined},
    {"format", {kAny}, 0, [](Call& call) -> Value { return brace_format(call.self.text(), call.all); }},
    {"upper", kNone, 0, changed<upper>},
    {"lower", kNone, 0, changed<lower>},
    {"casefold", kNone, 0, changed<lower>},
    {"title", kNone, 0, changed<title>},
    {"capitalize", kNone, 0, changed<capitalize>},
    {"swapcase", kNone, 0, changed<swap_case>},
    {"isdigit", kNone, 0, all_are<is_digit>},
    {"isdecimal", kNone, 0, all_are<is_digit>},
    {"isnumeric", kNone, 0, all_are<is_digit>},
    {"isalpha", kNone, 0, all_are<is_letter>},
    {"isalnum", kNone, 0, all_are<is_letter_or_digit>},
    {"isspace", kNone, 0, all_are<is_space>},
    {"isascii", kNone, 0,
     [](Call& call) -> Value { return call.self.text().empty() || all_are<is_ascii_code>(call).boolean(); }},
    {"isupper", kNone, 0, is_cased<upper, lower>},
    {"islower", kNone, 0, is_cased<lower, upper>},
    {"istitle", kNone, 0, is_title},
    {"ljust", kWidth, 1, left_justified},
    {"rjust", kWidth, 1, right_justified},
    {"center", kWidth, 1, centered},
    {"zfill", kOne, 1, zero_filled},
    {"expandtabs", {"tabsize"}, 0, expanded_tabs},
    {"encode", {kAny}, 0, unsupported},
    {"format_map", {kAny}, 0, unsupported},
    {"isidentifier", {kAny}, 0, unsupported},
    {"isprintable", {kAny}, 0, unsupported},
    {"maketrans", {kAny}, 0, unsupported},
    {"translate", {kAny}, 0, unsupported},
};

}  // namespace

std::span<const Method> string_methods() {
  return kMethods;
}

}  // namespace lora::jinja
