#include "template/printing.h"

#include <wctype.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/utf8.h"
#include "template/objects.h"
#include "template/operators.h"
#include "template/text.h"

namespace lora::jinja {
namespace {

// What str.isprintable denies: control, format, unassigned ranges, separators other than the space.
bool is_printable(uint32_t code) {
  if (code < 0x7f) return code >= 0x20;
  if (code < 0xa1 || code == 0xad) return false;
  return !(is_space(code) || (code >= 0x200b && code <= 0x200f) || (code >= 0x202a && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x206f) || code == 0xfeff || (code >= 0xfff9 && code <= 0xfffb) ||
           (code >= 0xe000 && code <= 0xf8ff) || code == 0x061c || code == 0x180e ||
           (code & 0xfffe) == 0xfffe || code >= 0xe0000);
}

void append_repr(std::string& out, const Value& value);

template <class Items, class Each>
void append_joined(std::string& out, const Items& items, Each each) {
  bool is_first = true;
  for (const auto& item : items) {
    if (!is_first) out += ", ";
    is_first = false;
    each(item);
    need_bytes(out.size());
  }
}

void append_list(std::string& out, const List& list) {
  static constexpr std::string_view kOpen[] = {"[", "(", "", "dict_keys([", "dict_values([", "dict_items([",
                                               "",  ""};
  static constexpr std::string_view kClose[] = {"]", ")", "", "])", "])", "])", "", ""};
  if (list.shape == Shape::range) {
    out += list.shown;
    return;
  }
  // An address follows in Python.
  if (list.is_once()) {
    out += list.shape == Shape::generator ? "<generator object>" : "<list_reverseiterator object>";
    return;
  }
  out += kOpen[size_t(list.shape)];
  append_joined(out, list.items(), [&](const Value& item) { append_repr(out, item); });
  if (list.shape == Shape::tuple && list.items().size() == 1) out += ',';
  out += kClose[size_t(list.shape)];
}

void append_repr(std::string& out, const Value& value) {
  spend();
  switch (value.kind()) {
    case Kind::undefined:
      out += "Undefined";
      return;
    case Kind::none:
      out += "None";
      return;
    case Kind::boolean:
      out += value.boolean() ? "True" : "False";
      return;
    case Kind::integer:
      out += std::to_string(value.integer());
      return;
    case Kind::real:
      out += real_repr(value.real());
      return;
    case Kind::string:
      if (value.string().safe) out += "Markup(";
      out += quoted(value.text());
      if (value.string().safe) out += ")";
      return;
    case Kind::list:
      return append_list(out, value.items());
    case Kind::dict:
      out += '{';
      append_joined(out, value.dict().items, [&](const auto& item) {
        append_repr(out, item.first);
        out += ": ";
        append_repr(out, item.second);
      });
      out += '}';
      return;
    case Kind::object:
      out += thing(value).shown();
      return;
  }
}

}  // namespace

std::string quoted(std::string_view text) {
  const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  spend(text.size() / 8);
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    const char c = text[at];
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (step.code >= kStrayByte || is_printable(step.code)) {
      out += text.substr(at, step.size);
    } else if (step.code < 0x100) {
      out += fmt::format("\\x{:02x}", step.code);
    } else {
      out += step.code < 0x10000 ? fmt::format("\\u{:04x}", step.code) : fmt::format("\\U{:08x}", step.code);
    }
    at += step.size;
  }
  return out += quote;
}

// The shortest digits that are read back as the same number; an exponent below 1e-4 and from 1e16 on.
std::string real_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char digits[40];
  const bool is_long = value != 0 && (std::fabs(value) < 1e-4 || std::fabs(value) >= 1e16);
  const auto form = is_long ? std::chars_format::scientific : std::chars_format::fixed;
  std::string out(digits, std::to_chars(digits, digits + sizeof(digits), value, form).ptr);
  if (!is_long && out.find('.') == out.npos) out += ".0";
  return out;
}

void append_str(std::string& out, const Value& value) {
  if (value.is_string()) {
    out += value.text();
  } else if (!value.is_undefined()) {
    append_repr(out, value);
  }
}
std::string str(const Value& value) {
  std::string out;
  append_str(out, value);
  return out;
}
std::string repr(const Value& value) {
  std::string out;
  append_repr(out, value);
  return out;
}

std::string escape_html(std::string_view text) {
  spend(text.size() / 8);
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

namespace {

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  void write(const Value& value) {
    spend();
    switch (value.kind()) {
      case Kind::none:
        out_ += "null";
        return;
      case Kind::boolean:
        out_ += value.boolean() ? "true" : "false";
        return;
      case Kind::integer:
        out_ += std::to_string(value.integer());
        return;
      case Kind::real:
        out_ += real(value.real());
        return;
      case Kind::string:
        return text(value.text());
      case Kind::list:
        if (value.items().shape > Shape::tuple) break;
        return list(value.items().items());
      case Kind::dict:
        return dict(value.dict());
      default:
        break;
    }
    raise("TypeError", "Object of type {} is not JSON serializable", type_name(value));
  }
  std::string take() { return std::move(out_); }

 private:
  static std::string real(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return real_repr(value);
  }
  void text(std::string_view value) {
    spend(value.size() / 8);
    need_bytes(out_.size() + value.size());
    out_ += '"';
    for (size_t at = 0; at < value.size();) {
      const Utf8Step step = decode_utf8(value, at);
      character(step.code, value.substr(at, step.size));
      at += step.size;
    }
    out_ += '"';
  }
  void character(uint32_t code, std::string_view bytes) {
    constexpr std::string_view kNamed = "\"\\\n\r\t\f\b", kNames = "\"\\nrtfb";
    if (const size_t which = code < 0x80 ? kNamed.find(char(code)) : kNamed.npos; which != kNamed.npos) {
      out_ += '\\';
      out_ += kNames[which];
    } else if (code < 0x20 || (style_.ascii && code >= 0x7f && code < 0x10000)) {
      out_ += fmt::format("\\u{:04x}", code);
    } else if (style_.ascii && code >= 0x10000 && code < kStrayByte) {
      code -= 0x10000;
      out_ += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (code >> 10), 0xdc00 + (code & 0x3ff));
    } else {
      out_ += bytes;
    }
  }
  void new_line() {
    if (!style_.has_indent) return;
    need_bytes(out_.size() + depth_ * style_.indent.size());
    out_ += '\n';
    for (size_t i = 0; i < depth_; ++i) out_ += style_.indent;
  }
  template <class Items, class Each>
  void enclosed(char open, char close, const Items& items, Each each) {
    out_ += open;
    if (!items.empty()) {
      ++depth_;
      bool is_first = true;
      for (const auto& item : items) {
        if (!is_first) out_ += style_.item_separator;
        is_first = false;
        new_line();
        each(item);
        need_bytes(out_.size());
      }
      --depth_;
      new_line();
    }
    out_ += close;
  }
  void list(const std::vector<Value>& items) {
    enclosed('[', ']', items, [this](const Value& item) { write(item); });
  }
  void dict(const Dict& dict) {
    std::vector<std::pair<Value, Value>> items = dict.items;
    if (style_.sort_keys)
      std::stable_sort(items.begin(), items.end(),
                       [](const auto& a, const auto& b) { return less(a.first, b.first); });
    enclosed('{', '}', items, [this](const auto& item) {
      key(item.first);
      out_ += style_.key_separator;
      write(item.second);
    });
  }
  void key(const Value& key) {
    if (key.is_string()) return text(key.text());
    if (key.kind() > Kind::real || key.is_undefined())
      raise("TypeError", "keys must be str, int, float, bool or None, not {}", type_name(key));
    out_ += '"';
    write(key);
    out_ += '"';
  }

  const JsonStyle& style_;
  std::string out_;
  size_t depth_ = 0;
};

}  // namespace

std::string to_json(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.write(value);
  return writer.take();
}

}  // namespace lora::jinja
