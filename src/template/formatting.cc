// "..." % values and "...".format(...).
#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "template/operators.h"
#include "template/printing.h"
#include "template/text.h"

namespace lora::jinja {
namespace {

constexpr int64_t kWidest = 100'000;  // columns and digits that a format may ask for

struct Spec {
  std::string fill = " ";
  char align = 0, sign = '-', separator = 0, type = 0;
  bool alternate = false;
  int64_t width = 0, precision = -1;
};

int64_t take_digits(std::string_view& text) {
  int64_t number = 0;
  while (!text.empty() && is_digit(uint8_t(text[0]))) {
    number = number * 10 + (text[0] - '0');
    if (number > kWidest) raise("ValueError", "not supported: a format wider than {}", kWidest);
    text.remove_prefix(1);
  }
  return number;
}

std::string padded(std::string text, const Spec& spec, char align) {
  const int64_t gap = spec.width - count_characters(text);
  if (gap <= 0) return text;
  if (spec.align) align = spec.align;
  int64_t before = align == '>' ? gap : align == '^' ? gap / 2 : 0;
  size_t sign = 0;
  if (align == '=') {
    before = gap;
    sign = !text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ');
  }
  std::string out = text.substr(0, sign);
  for (int64_t i = 0; i < before; ++i) out += spec.fill;
  out += text.substr(sign);
  for (int64_t i = before; i < gap; ++i) out += spec.fill;
  return out;
}

std::string with_sign(std::string digits, bool is_negative, char sign) {
  if (is_negative) return "-" + digits;
  return sign == '-' ? digits : sign + digits;
}
void separate(std::string& digits, char separator) {
  if (!separator) return;
  size_t end = std::min(digits.find_first_not_of("0123456789"), digits.size());
  for (size_t at = end; at > 3; at -= 3) digits.insert(at - 3, 1, separator);
}

std::string integer_text(int64_t value, const Spec& spec) {
  const uint64_t size = value < 0 ? 0 - uint64_t(value) : uint64_t(value);
  std::string digits;
  switch (spec.type) {
    case 'x':
      digits = (spec.alternate ? "0x" : "") + fmt::format("{:x}", size);
      break;
    case 'X':
      digits = (spec.alternate ? "0X" : "") + fmt::format("{:X}", size);
      break;
    case 'o':
      digits = (spec.alternate ? "0o" : "") + fmt::format("{:o}", size);
      break;
    case 'b':
      digits = (spec.alternate ? "0b" : "") + fmt::format("{:b}", size);
      break;
    default:
      digits = std::to_string(size);
  }
  separate(digits, spec.separator);
  return with_sign(digits, value < 0, spec.sign);
}

// Python's g: at least two digits of exponent, no zeros at the end; fmt writes it so.
std::string real_text(double value, const Spec& spec) {
  const double size = std::fabs(value);
  const int precision = int(spec.precision < 0 ? 6 : std::min<int64_t>(spec.precision, 500));
  std::string digits;
  switch (spec.type) {
    case 'f':
    case 'F':
      digits = fmt::format("{:.{}f}", size, precision);
      break;
    case 'e':
      digits = fmt::format("{:.{}e}", size, precision);
      break;
    case 'E':
      digits = fmt::format("{:.{}E}", size, precision);
      break;
    case 'g':
      digits = fmt::format("{:.{}g}", size, precision);
      break;
    case 'G':
      digits = fmt::format("{:.{}G}", size, precision);
      break;
    case '%':
      digits = fmt::format("{:.{}f}%", size * 100, precision);
      break;
    default:
      digits = spec.precision < 0 ? real_repr(size) : fmt::format("{:.{}g}", size, precision);
      if (spec.precision >= 0 && digits.find_first_of(".en") == digits.npos) digits += ".0";
  }
  separate(digits, spec.separator);
  return with_sign(digits, std::signbit(value), spec.sign);
}

class Percent {
 public:
  Percent(std::string_view format, const Value& values) : rest_(format), values_(values) {
    is_tuple_ = values.is(Kind::list) && values.items().shape == Shape::tuple;
  }
  std::string run() {
    while (!rest_.empty()) {
      const size_t plain = std::min(rest_.find('%'), rest_.size());
      out_ += rest_.substr(0, plain);
      rest_.remove_prefix(plain);
      if (!rest_.empty()) one();
      need_bytes(out_.size());
      spend();
    }
    // A list counts as a mapping here, as it does for Python; so does what is undefined.
    const bool may_be_left =
        values_.is(Kind::dict) || values_.is_undefined() || (values_.is(Kind::list) && !is_tuple_) || named_;
    if (next_ < (is_tuple_ ? values_.items().items().size() : 1) && !may_be_left)
      raise("TypeError", "not all arguments converted during string formatting");
    return std::move(out_);
  }

 private:
  const Value& next() {
    if (is_tuple_ && next_ < values_.items().items().size()) return values_.items().items()[next_++];
    if (is_tuple_ || next_ > 0) raise("TypeError", "not enough arguments for format string");
    ++next_;
    return values_;
  }
  char take() {
    if (rest_.empty()) raise("ValueError", "incomplete format");
    const char c = rest_[0];
    rest_.remove_prefix(1);
    return c;
  }
  void one() {
    take();
    Spec spec;
    const Value* value = nullptr;
    if (rest_.starts_with('(')) {
      const size_t end = rest_.find(')');
      if (end == rest_.npos) raise("ValueError", "incomplete format key");
      if (!values_.is(Kind::dict)) raise("TypeError", "format requires a mapping");
      value = values_.dict().find(rest_.substr(1, end - 1));
      if (!value) raise("KeyError", "{}", quoted(rest_.substr(1, end - 1)));
      rest_.remove_prefix(end + 1);
      named_ = true;
    }
    bool zeros = false;
    for (; !rest_.empty() && std::string_view("-+ #0").find(rest_[0]) != std::string_view::npos; take()) {
      const char flag = rest_[0];
      if (flag == '-') spec.align = '<';
      if (flag == '+' || (flag == ' ' && spec.sign != '+')) spec.sign = flag;
      spec.alternate |= flag == '#';
      zeros |= flag == '0';
    }
    spec.width = rest_.starts_with('*') ? star() : take_digits(rest_);
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = -spec.width;
    }
    if (rest_.starts_with('.')) {
      take();
      spec.precision = std::max<int64_t>(rest_.starts_with('*') ? star() : take_digits(rest_), 0);
    }
    while (rest_.starts_with('l') || rest_.starts_with('h') || rest_.starts_with('L')) take();
    spec.type = take();
    if (spec.type == '%') {
      out_ += '%';
      return;
    }
    if (!value) value = &next();
    if (zeros && !spec.align && std::string_view("sracr").find(spec.type) == std::string_view::npos) {
      spec.fill = std::string(1, '0');
      spec.align = '=';
    }
    convert(*value, spec);
  }
  int64_t star() {
    take();
    const Value& value = next();
    if (!value.is(Kind::integer)) raise("TypeError", "* wants int");
    if (value.integer() > kWidest || value.integer() < -kWidest)
      raise("ValueError", "not supported: a format wider than {}", kWidest);
    return value.integer();
  }
  void convert(const Value& value, Spec& spec) {
    const char type = spec.type;
    if (type == 's' || type == 'r' || type == 'a') {
      std::string text = type == 's' ? str(value) : repr(value);
      if (spec.precision >= 0) text.resize(byte_of_character(text, spec.precision));
      out_ += padded(std::move(text), spec, '>');
    } else if (type == 'd' || type == 'i' || type == 'u') {
      if (!is_number(value))
        raise("TypeError", "%{} format: a real number is required, not {}", type, type_name(value));
      int64_t number = value.is(Kind::real) ? 0 : value.integer();
      if (value.is(Kind::real)) {
        if (!(std::fabs(value.real()) < 9.2e18)) raise("OverflowError", "cannot convert float to integer");
        number = int64_t(value.real());
      }
      spec.type = 'd';
      out_ += padded(integer_text(number, spec), spec, '>');
    } else if (type == 'x' || type == 'X' || type == 'o') {
      if (!is_number(value) || value.is(Kind::real))
        raise("TypeError", "%{} format: an integer is required, not {}", type, type_name(value));
      out_ += padded(integer_text(value.integer(), spec), spec, '>');
    } else if (std::string_view("feEgGF").find(type) != std::string_view::npos) {
      if (value.is_undefined()) fail_undefined(value);
      if (!is_number(value)) raise("TypeError", "must be real number, not {}", type_name(value));
      out_ += padded(real_text(as_real(value), spec), spec, '>');
    } else if (type == 'c') {
      if (!value.is_string() || count_characters(value.text()) != 1)
        raise("TypeError", "%c requires int or char");
      out_ += padded(std::string(value.text()), spec, '>');
    } else {
      raise("ValueError", "unsupported format character '{}'", type);
    }
  }

  std::string_view rest_;
  const Value& values_;
  bool is_tuple_ = false, named_ = false;
  size_t next_ = 0;
  std::string out_;
};

class Brace {
 public:
  Brace(std::string_view format, const Arguments& arguments) : rest_(format), arguments_(arguments) {}
  std::string run() {
    while (!rest_.empty()) {
      const size_t plain = std::min(rest_.find_first_of("{}"), rest_.size());
      out_ += rest_.substr(0, plain);
      rest_.remove_prefix(plain);
      need_bytes(out_.size());
      spend();
      if (rest_.empty()) break;
      if (rest_.starts_with("{{") || rest_.starts_with("}}")) {
        out_ += rest_[0];
        rest_.remove_prefix(2);
      } else if (rest_[0] == '}') {
        raise("ValueError", "Single '}}' encountered in format string");
      } else {
        field();
      }
    }
    return std::move(out_);
  }

 private:
  void field() {
    size_t end = 1;
    for (int depth = 1; depth > 0; ++end) {
      if (end >= rest_.size()) raise("ValueError", "expected '}}' before end of string");
      depth += rest_[end] == '{' ? 1 : rest_[end] == '}' ? -1 : 0;
    }
    std::string_view inner = rest_.substr(1, end - 2);
    rest_.remove_prefix(end);
    const size_t name_end = std::min(inner.find_first_of("!:"), inner.size());
    const Value value = named(inner.substr(0, name_end));
    inner.remove_prefix(name_end);
    char conversion = 0;
    if (inner.starts_with('!')) {
      if (inner.size() < 2 || (inner.size() > 2 && inner[2] != ':'))
        raise("ValueError", "expected ':' after conversion specifier");
      conversion = inner[1];
      inner.remove_prefix(2);
    }
    if (inner.starts_with(':')) inner.remove_prefix(1);
    std::string spec(inner);
    if (spec.find('{') != spec.npos) raise("ValueError", "not supported: a field within a field's format");
    if (conversion == 'r' || conversion == 'a') return formatted(Value(repr(value)), spec);
    if (conversion == 's') return formatted(Value(str(value)), spec);
    if (conversion) raise("ValueError", "Unknown conversion specifier {}", conversion);
    formatted(value, spec);
  }

  Value named(std::string_view path) {
    size_t end = std::min(path.find_first_of(".["), path.size());
    Value value = first(path.substr(0, end));
    for (path.remove_prefix(end); !path.empty(); path.remove_prefix(end)) {
      spend();
      if (path[0] == '.') {
        end = std::min(path.find_first_of(".[", 1), path.size());
        value = attribute_of(value, Value(path.substr(1, end - 1)));
        continue;
      }
      end = path.find(']');
      if (end == path.npos) raise("ValueError", "Missing ']' in format string");
      std::string_view key = path.substr(1, end - 1);
      const bool is_number = !key.empty() && key.size() < 10 &&
                             std::all_of(key.begin(), key.end(), [](char c) { return is_digit(uint8_t(c)); });
      value = item_of(value, is_number ? Value(take_digits(key)) : Value(key));
      ++end;
    }
    return value;
  }
  Value first(std::string_view name) {
    if (name.empty()) return positional(next_++);
    if (is_digit(uint8_t(name[0]))) {
      std::string_view digits = name;
      const int64_t number = take_digits(digits);
      if (digits.empty()) return positional(size_t(number));
    }
    for (const auto& [key, value] : arguments_.named) {
      if (key.text() == name) return value;
    }
    raise("KeyError", "{}", quoted(name));
  }
  const Value& positional(size_t i) const {
    if (i >= arguments_.positional.size())
      raise("IndexError", "Replacement index {} out of range for positional args tuple", i);
    return arguments_.positional[i];
  }

  static Spec parsed(std::string_view text) {
    Spec spec;
    const std::string_view whole = text;
    const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
    const size_t first = text.empty() ? 0 : decode_utf8(text, 0).size;
    if (text.size() > first && is_align(text[first])) {
      spec.fill = text.substr(0, first);
      spec.align = text[first];
      text.remove_prefix(first + 1);
    } else if (!text.empty() && is_align(text[0])) {
      spec.align = text[0];
      text.remove_prefix(1);
    }
    const auto take_one_of = [&](std::string_view allowed) {
      if (text.empty() || allowed.find(text[0]) == allowed.npos) return char(0);
      const char c = text[0];
      text.remove_prefix(1);
      return c;
    };
    if (const char sign = take_one_of("+- ")) spec.sign = sign;
    spec.alternate = take_one_of("#") != 0;
    if (text.starts_with('0') && !spec.align) {
      spec.fill = std::string(1, '0');
      spec.align = '=';
    }
    spec.width = take_digits(text);
    spec.separator = take_one_of(",_");
    if (take_one_of(".")) spec.precision = take_digits(text);
    spec.type = take_one_of("sdbxXofFeEgG%");
    if (!text.empty()) raise("ValueError", "Invalid format specifier '{}'", whole);
    return spec;
  }

  void formatted(const Value& value, std::string_view text) {
    if (text.empty()) return append_str(out_, value);
    const Spec spec = parsed(text);
    const bool wants_real =
        spec.type && std::string_view("fFeEgG%").find(spec.type) != std::string_view::npos;
    if (value.is_string() && (spec.type == 0 || spec.type == 's')) {
      std::string shown(value.text());
      if (spec.precision >= 0) shown.resize(byte_of_character(shown, spec.precision));
      if (spec.align == '=') raise("ValueError", "'=' alignment not allowed in string format specifier");
      out_ += padded(std::move(shown), spec, '<');
    } else if (is_number(value) && spec.type != 's' && (value.is(Kind::real) || wants_real)) {
      if (spec.type && !wants_real)
        raise("ValueError", "Unknown format code '{}' for object of type 'float'", spec.type);
      out_ += padded(real_text(as_real(value), spec), spec, '>');
    } else if (is_number(value) && spec.type != 's') {
      if (spec.precision >= 0) raise("ValueError", "Precision not allowed in integer format specifier");
      out_ += padded(integer_text(value.integer(), spec), spec, '>');
    } else if (is_number(value) || value.is_string()) {
      raise("ValueError", "Unknown format code '{}' for object of type '{}'", spec.type, type_name(value));
    } else {
      raise("TypeError", "unsupported format string passed to {}.__format__", type_name(value));
    }
  }

  std::string_view rest_;
  const Arguments& arguments_;
  size_t next_ = 0;
  std::string out_;
};

}  // namespace

std::string percent_format(std::string_view format, const Value& values) {
  return Percent(format, values).run();
}
std::string brace_format(std::string_view format, const Arguments& arguments) {
  return Brace(format, arguments).run();
}

}  // namespace lora::jinja
