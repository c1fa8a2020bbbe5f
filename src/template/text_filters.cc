// Filters that make text or a number of one value.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/utf8.h"
#include "template/filters.h"
#include "template/operators.h"
#include "template/printing.h"
#include "template/text.h"

namespace lora::jinja {
namespace {

constexpr Parameters kNone = {};

bool is_safe(const Value& value) {
  return value.is_string() && value.string().safe;
}
// The text, marked safe where the filter's value is.
Value like(const Value& value, std::string text) {
  return is_safe(value) ? safe_string(std::move(text)) : Value(std::move(text));
}
template <std::string (*change)(std::string_view)>
Value mapped(Call& call) {
  return like(call.self, change(str(call.self)));
}

bool is_word(uint32_t code) {
  return code == '_' || is_letter(code) || is_digit(code);
}

// Words begin behind white space, - ( { [ <.
std::string title_of_words(std::string_view text) {
  spend(text.size() / 4);
  std::string out, word;
  const auto flush = [&] {
    out += capitalize(word);
    word.clear();
  };
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    const bool between =
        is_space(step.code) ||
        (step.code < 0x80 && std::string_view("-({[<").find(char(step.code)) != std::string_view::npos);
    if (between) flush();
    (between ? out : word) += text.substr(at, step.size);
    at += step.size;
  }
  flush();
  return out;
}

Value trim(Call& call) {
  const std::string text = str(call.self);
  const auto chars = call.maybe_text(0);
  return like(call.self, std::string(strip(text, chars ? &*chars : nullptr)));
}

Value escape(Call& call) {
  return is_safe(call.self) ? call.self : safe_string(escape_html(str(call.self)));
}
Value force_escape(Call& call) {
  return safe_string(escape_html(str(call.self)));
}

Value replace_filter(Call& call) {
  return replace(str(call.self), str(*call[0]), str(*call[1]), call.has(2) ? call.integer(2) : -1);
}

Value indent(Call& call) {
  if (call.self.is_undefined()) fail_undefined(call.self);
  if (!call.self.is_string())
    raise("TypeError", "unsupported operand type(s) for +=: '{}' and 'str'", type_name(call.self));
  std::string by;
  if (call[0] && call[0]->is_string()) {
    by = call[0]->text();
  } else {
    const int64_t width = std::max<int64_t>(call[0] ? as_index(*call[0], "width") : 4, 0);
    need_bytes(size_t(width));
    by.assign(size_t(width), ' ');
  }
  const bool first = call.flag(1), blank = call.flag(2);
  const std::string text = std::string(call.self.text()) + '\n';
  std::string out;
  bool is_first = true;
  for (const std::string_view line : split_lines(text)) {
    need_bytes(out.size() + by.size() + line.size());
    if (!is_first) out += '\n';
    if (is_first ? first : blank || !line.empty()) out += by;
    out += line;
    is_first = false;
  }
  return like(call.self, std::move(out));
}

Value truncate(Call& call) {
  if (call.self.is_undefined()) return call.self;
  if (!call.self.is_string()) raise("TypeError", "object of type '{}' has no len()", type_name(call.self));
  const std::string_view text = call.self.text(), end = call.text(2, "...");
  const int64_t size = call.integer(0, 255), leeway = call.integer(3, 5), of_end = count_characters(end);
  if (size < of_end) raise("AssertionError", "expected length >= {}, got {}", of_end, size);
  if (leeway < 0) raise("AssertionError", "expected leeway >= 0, got {}", leeway);
  if (count_characters(text) - leeway <= size) return call.self;
  std::string_view kept = text.substr(0, byte_of_character(text, size - of_end));
  if (!call.flag(1)) kept = kept.substr(0, kept.rfind(' '));
  return like(call.self, std::string(kept) + std::string(end));
}

Value center(Call& call) {
  Arguments arguments{{Value(call.integer(0, 80))}, {}};
  const Value text = like(call.self, str(call.self));
  return item_of(text, "center").is_undefined()
             ? text
             : thing(item_of(text, "center")).call(call.interpreter, arguments);
}

Value word_count(Call& call) {
  const std::string text = str(call.self);
  spend(text.size() / 4);
  int64_t count = 0;
  bool within = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    count += is_word(step.code) && !within;
    within = is_word(step.code);
    at += step.size;
  }
  return count;
}

Value format(Call& call) {
  if (!call.all.positional.empty() && !call.all.named.empty())
    raise("FilterArgumentError", "can't handle positional and keyword arguments at the same time");
  const std::string text = str(call.self);
  return like(call.self,
              percent_format(text, call.all.named.empty() ? make_list(Shape::tuple, call.all.positional)
                                                          : Value::dict(call.all.named)));
}

// Comments and tags taken out, runs of white space to one space, the commonest entities to what they mean.
std::string without(std::string_view text, std::string_view open, std::string_view close) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = find(text, open, at);
    const size_t end = begin == text.npos ? text.npos : find(text, close, begin);
    if (end == text.npos) {
      out += text.substr(at);
      break;
    }
    out += text.substr(at, begin - at);
    at = end + close.size();
  }
  return out;
}
Value strip_tags(Call& call) {
  std::string text = without(without(str(call.self), "<!--", "-->"), "<", ">"), out;
  for (const std::string_view word : split(text, nullptr, -1)) {
    if (!out.empty()) out += ' ';
    out += word;
  }
  static constexpr std::pair<std::string_view, std::string_view> kEntities[] = {
      {"&lt;", "<"},  {"&gt;", ">"},        {"&quot;", "\""}, {"&#34;", "\""},
      {"&#39;", "'"}, {"&nbsp;", "\u00a0"}, {"&amp;", "&"}};
  for (const auto& [entity, meant] : kEntities) out = replace(out, entity, meant);
  return safe_string(std::move(out));
}

std::string url_quoted(std::string_view text, bool for_query) {
  spend(text.size() / 2);
  std::string out;
  for (const char c : text) {
    const bool is_plain = is_digit(uint8_t(c)) || (uint8_t(c) < 0x80 && is_letter(uint8_t(c))) ||
                          std::string_view("_.-~").find(c) != std::string_view::npos ||
                          (c == '/' && !for_query);
    if (is_plain) {
      out += c;
    } else if (c == ' ' && for_query) {
      out += '+';
    } else {
      out += fmt::format("%{:02X}", uint8_t(c));
    }
  }
  return out;
}
Value url_encode(Call& call) {
  const Value& value = call.self;
  if (!value.is(Kind::dict) && !value.is(Kind::list)) return url_quoted(str(value), false);
  std::string out;
  const auto add = [&](const Value& key, const Value& item) {
    need_bytes(out.size());
    if (!out.empty()) out += '&';
    out += url_quoted(str(key), true) + "=" + url_quoted(str(item), true);
  };
  if (value.is(Kind::dict)) {
    for (const auto& [key, item] : value.dict().items) add(key, item);
    return out;
  }
  const Value pairs = items_of(value);
  for (const Value& pair : pairs.items().items()) {
    if (!pair.is(Kind::list) || pair.items().items().size() != 2)
      raise("ValueError", "not enough values to unpack (expected 2)");
    add(pair.items().items()[0], pair.items().items()[1]);
  }
  return out;
}

Value to_json_filter(Call& call) {
  JsonStyle style;
  style.ascii = call.flag(0);
  style.sort_keys = call.flag(3);
  if (call.has(1)) {
    style.has_indent = true;
    style.item_separator = std::string(1, ',');
    if (call[1]->is_string()) {
      style.indent = call[1]->text();
    } else {
      const int64_t width = std::max<int64_t>(as_index(*call[1], "indent"), 0);
      need_bytes(size_t(width));
      style.indent.assign(size_t(width), ' ');
    }
  }
  if (call.has(2)) {
    const Value pair = items_of(*call[2]);
    const std::vector<Value>& parts = pair.items().items();
    if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string())
      raise("ValueError", "tojson's separators are two texts");
    style.item_separator = parts[0].text();
    style.key_separator = parts[1].text();
  }
  return to_json(call.self, style);
}

// pprint.pformat as far as the value fits a line.
Value pretty(Call& call) {
  Value value = call.self;
  if (value.is(Kind::dict)) {
    auto items = value.dict().items;
    std::stable_sort(items.begin(), items.end(),
                     [](const auto& a, const auto& b) { return less(a.first, b.first); });
    value = Value::dict(std::move(items));
  }
  std::string text = repr(value);
  if (count_characters(text) > 80) raise("ValueError", "not supported: pprint of more than 80 characters");
  return text;
}

// --- numbers ---

std::optional<int64_t> parsed_integer(std::string_view text, int64_t base) {
  text = strip(text);
  const bool is_negative = text.starts_with('-');
  if (is_negative || text.starts_with('+')) text.remove_prefix(1);
  const auto has_prefix = [&](char letter) {
    return text.size() > 1 && text[0] == '0' && (text[1] | 32) == letter;
  };
  for (const auto& [letter, of] : {std::pair('x', 16), {'o', 8}, {'b', 2}}) {
    if (!has_prefix(letter) || (base != of && base != 0)) continue;
    base = of;
    text.remove_prefix(2);
    if (text.starts_with('_')) text.remove_prefix(1);
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36) raise("ValueError", "int() base must be >= 2 and <= 36, or 0");
  if (text.empty() || text.starts_with('_') || text.ends_with('_') || text.find("__") != text.npos)
    return std::nullopt;
  std::string digits = is_negative ? "-" : "";
  for (const char c : text) {
    if (c != '_') digits += c;
  }
  if (digits.find_first_of("+-", is_negative) != digits.npos) return std::nullopt;
  int64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, value, int(base));
  if (rest != end) return std::nullopt;
  if (error == std::errc::result_out_of_range) raise("OverflowError", "an integer has more than 64 bits");
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<double> parsed_real(std::string_view text) {
  text = strip(text);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool between = text[i] == '_' && i > 0 && i + 1 < text.size() && is_digit(uint8_t(text[i - 1])) &&
                         is_digit(uint8_t(text[i + 1]));
    if (!between) digits += text[i];
  }
  if (digits.find_first_of("xXpP(") != digits.npos) return std::nullopt;
  double value = 0;
  const char* end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, value);
  if (rest != end || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) {  // too large or too small
    const bool is_small = digits.find("e-") != digits.npos || digits.find("E-") != digits.npos;
    return std::copysign(is_small ? 0.0 : INFINITY, digits.starts_with('-') ? -1.0 : 1.0);
  }
  return value;
}

int64_t whole(double value) {
  if (!(std::fabs(value) < 9.2233720368547e18))
    raise("OverflowError", "cannot convert float to an integer of 64 bits");
  return int64_t(value);
}

Value to_integer(Call& call) {
  const Value otherwise = call[0] ? *call[0] : Value(0);
  const Value& value = call.self;
  if (value.is_undefined()) fail_undefined(value);
  if (value.is_string()) {
    if (const auto found = parsed_integer(value.text(), call[1] ? call.integer(1) : 10)) return *found;
    const auto real = parsed_real(value.text());
    return real && std::isfinite(*real) ? Value(whole(*real)) : otherwise;
  }
  if (!is_number(value)) return otherwise;
  if (!value.is(Kind::real)) return value.integer();
  return std::isnan(value.real()) ? otherwise : Value(whole(value.real()));
}
Value to_real(Call& call) {
  const Value otherwise = call[0] ? *call[0] : Value(0.0);
  if (call.self.is_undefined()) fail_undefined(call.self);
  if (is_number(call.self)) return as_real(call.self);
  const auto found = call.self.is_string() ? parsed_real(call.self.text()) : std::nullopt;
  return found ? Value(*found) : otherwise;
}

Value absolute(Call& call) {
  if (!is_number(call.self)) raise("TypeError", "bad operand type for abs(): '{}'", type_name(call.self));
  if (call.self.is(Kind::real)) return std::fabs(call.self.real());
  return call.self.integer() < 0 ? negate(call.self) : plus(call.self);
}

// Half to even, of the number as it is and not as it is written.
Value rounded(Call& call) {
  const std::string_view method = call.text(1, "common");
  const int64_t digits = call.integer(0);
  if (method != "common" && method != "ceil" && method != "floor")
    raise("FilterArgumentError", "method must be common, ceil or floor");
  if (call.self.is_undefined()) fail_undefined(call.self);
  if (!is_number(call.self))
    raise("TypeError", "type {} doesn't define __round__ method", type_name(call.self));
  const double value = as_real(call.self);
  if (method != "common") {
    const double scale = std::pow(10.0, double(std::clamp<int64_t>(digits, -400, 300)));
    if (!std::isfinite(value)) raise("OverflowError", "cannot convert float infinity or NaN to integer");
    return (method == "ceil" ? std::ceil(value * scale) : std::floor(value * scale)) / scale;
  }
  if (!call.self.is(Kind::real) && digits >= 0) return call.self.integer();
  if (!call.self.is(Kind::real)) {
    if (digits < -18) return 0;
    int64_t unit = 1;
    for (int64_t i = 0; i < -digits; ++i) unit *= 10;
    const int64_t number = call.self.integer(), rest = (number % unit + unit) % unit, low = number - rest;
    const bool up = rest > unit - rest || (rest == unit - rest && (low / unit) % 2 != 0);
    return arithmetic(Op::add, low, up ? unit : int64_t{0});
  }
  if (!std::isfinite(value) || digits > 320) return value;
  if (digits >= 0) return *parsed_real(fmt::format("{:.{}f}", value, int(digits)));
  const double unit = std::pow(10.0, double(std::min<int64_t>(-digits, 320)));
  return std::nearbyint(value / unit) * unit;
}

Value file_size(Call& call) {
  const bool binary = call.flag(0);
  Arguments none;
  const Value number = call_filter(call.interpreter, *find_filter("float"), call.self, none);
  const double bytes = as_real(number), base = binary ? 1024 : 1000;
  if (bytes == 1) return "1 Byte";
  if (bytes < base) return fmt::format("{} Bytes", int64_t(bytes));
  double unit = base;
  for (const char letter : std::string_view("kMGTPEZY")) {
    unit *= base;
    if (bytes >= unit && letter != 'Y') continue;
    const char shown = binary && letter == 'k' ? 'K' : letter;
    return fmt::format("{:.1f} {}{}B", base * bytes / unit, shown, binary ? "i" : "");
  }
  return nullptr;
}

const Filter kTextFilters[] = {
    {"tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, to_json_filter},
    {"trim", {"chars"}, 0, trim},
    {"string", kNone, 0,
     [](Call& call) { return call.self.is_string() ? call.self : Value(str(call.self)); }},
    {"upper", kNone, 0, mapped<upper>},
    {"lower", kNone, 0, mapped<lower>},
    {"title", kNone, 0, mapped<title_of_words>},
    {"capitalize", kNone, 0, mapped<capitalize>},
    {"replace", {"old", "new", "count"}, 2, replace_filter},
    {"indent", {"width", "first", "blank"}, 0, indent},
    {"truncate", {"length", "killwords", "end", "leeway"}, 0, truncate},
    {"center", {"width"}, 0, center},
    {"wordcount", kNone, 0, word_count},
    {"format", {kAny}, 0, format},
    {"safe", kNone, 0, [](Call& call) { return safe_string(str(call.self)); }},
    {"escape", kNone, 0, escape},
    {"e", kNone, 0, escape},
    {"forceescape", kNone, 0, force_escape},
    {"striptags", kNone, 0, strip_tags},
    {"urlencode", kNone, 0, url_encode},
    {"pprint", kNone, 0, pretty},
    {"int", {"default", "base"}, 0, to_integer},
    {"float", {"default"}, 0, to_real},
    {"abs", kNone, 0, absolute},
    {"round", {"precision", "method"}, 0, rounded},
    {"filesizeformat", {"binary"}, 0, file_size},
};

}  // namespace

std::span<const Filter> text_filters() {
  return kTextFilters;
}

}  // namespace lora::jinja
