#include "template/operators.h"

#include <algorithm>
#include <cmath>

#include "template/printing.h"
#include "template/text.h"

namespace lora::jinja {
namespace {

constexpr std::string_view kOperators[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

[[noreturn]] void no_operator(std::string_view symbol, const Value& a, const Value& b) {
  raise("TypeError", "unsupported operand type(s) for {}: '{}' and '{}'", symbol, type_name(a), type_name(b));
}
[[noreturn]] void overflow() {
  raise("OverflowError", "an integer has more than 64 bits");
}

void refuse_undefined(const Value& a, const Value& b) {
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
}

bool is_integer(const Value& value) {
  return value.is(Kind::integer) || value.is(Kind::boolean);
}
bool is_list(const Value& value, Shape shape) {
  return value.is(Kind::list) && value.items().shape == shape;
}

Value concatenated(const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) {
    need_bytes(a.text().size() + b.text().size());
    const bool safe_a = a.string().safe, safe_b = b.string().safe;
    if (!safe_a && !safe_b) {
      std::string text;
      text.reserve(a.text().size() + b.text().size());
      return text.append(a.text()).append(b.text());
    }
    return safe_string((safe_a ? std::string(a.text()) : escape_html(a.text())) +
                       (safe_b ? std::string(b.text()) : escape_html(b.text())));
  }
  for (const Shape shape : {Shape::list, Shape::tuple}) {
    if (!is_list(a, shape) || !is_list(b, shape)) continue;
    need_bytes((a.items().items().size() + b.items().items().size()) * sizeof(Value));
    std::vector<Value> items = a.items().items();
    items.insert(items.end(), b.items().items().begin(), b.items().items().end());
    return make_list(shape, std::move(items));
  }
  if (a.is_string() || is_list(a, Shape::list) || is_list(a, Shape::tuple))
    raise("TypeError", "can only concatenate {} (not \"{}\") to {}", type_name(a), type_name(b),
          type_name(a));
  no_operator("+", a, b);
}

Value repeated(const Value& sequence, int64_t times) {
  times = std::max<int64_t>(times, 0);
  if (sequence.is_string()) {
    const std::string_view text = sequence.text();
    if (!text.empty() && uint64_t(times) > kMostBytes / text.size()) need_bytes(kMostBytes + 1);
    if (text.empty()) times = 0;
    need_bytes(text.size() * size_t(times));
    std::string out;
    out.reserve(text.size() * size_t(times));
    for (int64_t i = 0; i < times; ++i) out += text;
    return sequence.string().safe ? safe_string(std::move(out)) : Value(std::move(out));
  }
  const std::vector<Value>& items = sequence.items().items();
  if (items.empty()) times = 0;
  if (!items.empty() && uint64_t(times) > kMostBytes / (items.size() * sizeof(Value)))
    need_bytes(kMostBytes + 1);
  need_bytes(items.size() * size_t(times) * sizeof(Value));
  std::vector<Value> out;
  out.reserve(items.size() * size_t(times));
  for (int64_t i = 0; i < times; ++i) out.insert(out.end(), items.begin(), items.end());
  return make_list(sequence.items().shape, std::move(out));
}
bool can_repeat(const Value& value) {
  return value.is_string() || is_list(value, Shape::list) || is_list(value, Shape::tuple);
}

int64_t floor_divided(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

Value integer_power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) overflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) overflow();
  }
  return result;
}

Value of_integers(Op op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case Op::add:
      if (__builtin_add_overflow(a, b, &result)) overflow();
      return result;
    case Op::subtract:
      if (__builtin_sub_overflow(a, b, &result)) overflow();
      return result;
    case Op::multiply:
      if (__builtin_mul_overflow(a, b, &result)) overflow();
      return result;
    case Op::divide:
      if (b == 0) raise("ZeroDivisionError", "division by zero");
      return double((long double)(a) / (long double)(b));
    case Op::floor_divide:
      if (b == 0) raise("ZeroDivisionError", "integer division or modulo by zero");
      if (a == INT64_MIN && b == -1) overflow();
      return floor_divided(a, b);
    case Op::modulo:
      if (b == 0) raise("ZeroDivisionError", "integer modulo by zero");
      if (b == -1) return int64_t{0};
      return a - floor_divided(a, b) * b;
    default:
      break;
  }
  if (b < 0) {
    if (a == 0) raise("ZeroDivisionError", "0.0 cannot be raised to a negative power");
    return std::pow(double(a), double(b));
  }
  return integer_power(a, b);
}

Value of_reals(Op op, double a, double b) {
  const auto modulo = [](double x, double y) {
    const double rest = std::fmod(x, y);
    if (rest == 0) return std::copysign(0.0, y);
    return (rest < 0) != (y < 0) ? rest + y : rest;
  };
  if (b == 0 && op == Op::divide) raise("ZeroDivisionError", "float division by zero");
  if (b == 0 && op == Op::floor_divide) raise("ZeroDivisionError", "float floor division by zero");
  if (b == 0 && op == Op::modulo) raise("ZeroDivisionError", "float modulo");
  switch (op) {
    case Op::add:
      return a + b;
    case Op::subtract:
      return a - b;
    case Op::multiply:
      return a * b;
    case Op::divide:
      return a / b;
    case Op::floor_divide: {
      const double quotient = (a - modulo(a, b)) / b, floor = std::floor(quotient);
      return quotient == 0 ? std::copysign(0.0, a / b) : quotient - floor > 0.5 ? floor + 1 : floor;
    }
    case Op::modulo:
      return modulo(a, b);
    default:
      break;
  }
  if (a == 0 && b < 0) raise("ZeroDivisionError", "0.0 cannot be raised to a negative power");
  if (a < 0 && b != std::floor(b)) raise("ValueError", "not supported: a complex number");
  const double power = std::pow(a, b);
  if (std::isinf(power) && !std::isinf(a) && !std::isinf(b))
    raise("OverflowError", "(34, 'Numerical result out of range')");
  return power;
}

}  // namespace

std::string_view type_name(const Value& value) {
  static constexpr std::string_view kShapes[] = {
      "list",        "tuple",      "range",     "dict_keys",
      "dict_values", "dict_items", "generator", "list_reverseiterator"};
  switch (value.kind()) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::string:
      return value.string().safe ? "Markup" : "str";
    case Kind::list:
      return kShapes[size_t(value.items().shape)];
    case Kind::dict:
      return "dict";
    case Kind::object:
      return thing(value).type();
  }
  return "";
}

bool is_number(const Value& value) {
  return is_integer(value) || value.is(Kind::real);
}
double as_real(const Value& number) {
  return number.is(Kind::real) ? number.real() : double(number.integer());
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return value.integer() != 0;
    case Kind::real:
      return value.real() != 0;
    case Kind::string:
      return !value.text().empty();
    case Kind::list:
      return value.items().is_once() || !value.items().is_empty();
    case Kind::dict:
      return !value.dict().items.empty();
    case Kind::object:
      return true;
  }
  return false;
}

bool same(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  if (a.is(Kind::real)) return a.real() == b.real();
  if (a.is(Kind::boolean) || a.is(Kind::integer)) return a.integer() == b.integer();
  if (a.is_string() && a.text() == b.text()) return true;
  return a.object() == b.object();
}

bool equal(const Value& a, const Value& b) {
  if (is_number(a) && is_number(b)) {
    if (is_integer(a) && is_integer(b)) return a.integer() == b.integer();
    const auto exact = [](const Value& v) {
      return v.is(Kind::real) ? (long double)(v.real()) : (long double)(v.integer());
    };
    return exact(a) == exact(b);
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::string:
      if (a.text().size() == b.text().size()) spend(a.text().size() / 64);
      return a.text() == b.text();
    case Kind::list: {
      if (a.object() == b.object()) return true;
      const List &x = a.items(), &y = b.items();
      if (x.shape != y.shape || !x.is_sequence() || x.items().size() != y.items().size()) return false;
      spend(1 + x.items().size() / 16);
      return std::equal(x.items().begin(), x.items().end(), y.items().begin(), equal);
    }
    case Kind::dict: {
      if (a.object() == b.object()) return true;
      const Dict &x = a.dict(), &y = b.dict();
      if (x.items.size() != y.items.size()) return false;
      spend(1 + x.items.size());
      return std::all_of(x.items.begin(), x.items.end(), [&](const auto& item) {
        const Value* other = y.find(item.first);
        return other && equal(item.second, *other);
      });
    }
    default:
      return a.object() == b.object();
  }
}

namespace {

// Whether a is before b, or `or_equal` the same, in the way of Python's sequences: the first difference
// decides.
bool ordered(const Value& a, const Value& b, bool or_equal, std::string_view symbol) {
  if (is_number(a) && is_number(b)) {
    if (is_integer(a) && is_integer(b))
      return a.integer() < b.integer() || (or_equal && a.integer() == b.integer());
    const auto exact = [](const Value& v) {
      return v.is(Kind::real) ? (long double)(v.real()) : (long double)(v.integer());
    };
    return exact(a) < exact(b) || (or_equal && exact(a) == exact(b));
  }
  refuse_undefined(a, b);
  if (a.is_string() && b.is_string()) {
    spend(1 + std::min(a.text().size(), b.text().size()) / 64);
    return or_equal ? a.text() <= b.text() : a.text() < b.text();
  }
  if (a.is(Kind::list) && b.is(Kind::list) && a.items().shape == b.items().shape &&
      a.items().shape <= Shape::tuple) {
    const std::vector<Value>&x = a.items().items(), &y = b.items().items();
    for (size_t i = 0; i < x.size() && i < y.size(); ++i) {
      spend();
      if (!equal(x[i], y[i])) return ordered(x[i], y[i], or_equal, symbol);
    }
    return x.size() < y.size() || (or_equal && x.size() == y.size());
  }
  raise("TypeError", "'{}' not supported between instances of '{}' and '{}'", symbol, type_name(a),
        type_name(b));
}

}  // namespace

bool less(const Value& a, const Value& b, std::string_view symbol) {
  return ordered(a, b, false, symbol);
}
bool less_or_equal(const Value& a, const Value& b, std::string_view symbol) {
  return ordered(a, b, true, symbol);
}

bool contains(const Value& container, const Value& value) {
  if (container.is_string()) {
    if (!value.is_string())
      raise("TypeError", "'in <string>' requires string as left operand, not {}", type_name(value));
    spend(container.text().size() / 64);
    return find(container.text(), value.text()) != std::string_view::npos;
  }
  if (container.is(Kind::dict)) return container.dict().find(value) != nullptr;
  if (!is_iterable(container))
    raise("TypeError", "argument of type '{}' is not a container or iterable", type_name(container));
  const Value items = items_of(container);
  return std::any_of(items.items().items().begin(), items.items().items().end(), [&](const Value& item) {
    spend();
    return equal(item, value);
  });
}

// a > b is told of as such, though it is asked as b < a.
bool compare(Op op, const Value& a, const Value& b) {
  const auto types_fit = [&](std::string_view symbol) {
    refuse_undefined(a, b);
    const bool fit = (is_number(a) && is_number(b)) || (a.is_string() && b.is_string()) ||
                     (a.is(Kind::list) && b.is(Kind::list));
    if (!fit)
      raise("TypeError", "'{}' not supported between instances of '{}' and '{}'", symbol, type_name(a),
            type_name(b));
  };
  switch (op) {
    case Op::eq:
      return equal(a, b);
    case Op::ne:
      return !equal(a, b);
    case Op::lt:
      return less(a, b);
    case Op::le:
      return less_or_equal(a, b);
    case Op::gt:
      types_fit(">");
      return less(b, a, ">");
    case Op::ge:
      types_fit(">=");
      return less_or_equal(b, a, ">=");
    case Op::in:
      return contains(b, a);
    default:
      return !contains(b, a);
  }
}

Value arithmetic(Op op, const Value& a, const Value& b) {
  if (is_integer(a) && is_integer(b)) return of_integers(op, a.integer(), b.integer());
  if (is_number(a) && is_number(b)) return of_reals(op, as_real(a), as_real(b));
  if (op == Op::modulo && a.is_string()) {
    std::string text = percent_format(a.text(), b);
    return a.string().safe ? safe_string(std::move(text)) : Value(std::move(text));
  }
  if (op == Op::add && (a.is_string() || is_list(a, Shape::list) || is_list(a, Shape::tuple)) &&
      !b.is_undefined())
    return concatenated(a, b);
  refuse_undefined(a, b);
  if (op == Op::add) return concatenated(a, b);
  if (op == Op::multiply && (can_repeat(a) || can_repeat(b))) {
    const Value& sequence = can_repeat(a) ? a : b;
    const Value& times = can_repeat(a) ? b : a;
    if (!is_integer(times))
      raise("TypeError", "can't multiply sequence by non-int of type '{}'", type_name(times));
    return repeated(sequence, times.integer());
  }
  no_operator(kOperators[size_t(op)], a, b);
}

Value negate(const Value& value) {
  if (value.is(Kind::real)) return -value.real();
  if (!is_integer(value)) {
    if (value.is_undefined()) fail_undefined(value);
    raise("TypeError", "bad operand type for unary -: '{}'", type_name(value));
  }
  if (value.integer() == INT64_MIN) overflow();
  return -value.integer();
}
Value plus(const Value& value) {
  if (value.is(Kind::real)) return value;
  if (is_integer(value)) return value.integer();
  if (value.is_undefined()) fail_undefined(value);
  raise("TypeError", "bad operand type for unary +: '{}'", type_name(value));
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is(Kind::list) || value.is(Kind::dict);
}

Value items_of(const Value& value) {
  std::vector<Value> items;
  switch (value.kind()) {
    case Kind::undefined:
      break;
    case Kind::string:
      need_bytes(value.text().size() * (sizeof(Value) + sizeof(String)));
      for (const std::string_view character : characters(value.text()))
        items.push_back(value.string().safe ? safe_string(std::string(character)) : Value(character));
      break;
    case Kind::list:
      if (!value.items().is_once()) return value;
      items.swap(value.items().rest());
      break;
    case Kind::dict:
      for (const auto& [key, ignored] : value.dict().items) items.push_back(key);
      break;
    default:
      raise("TypeError", "'{}' object is not iterable", type_name(value));
  }
  return Value::list(std::move(items));
}

int64_t length(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return 0;
    case Kind::string:
      return count_characters(value.text());
    case Kind::dict:
      return int64_t(value.dict().items.size());
    case Kind::list:
      if (!value.items().is_once()) return int64_t(value.items().items().size());
      break;
    default:
      break;
  }
  raise("TypeError", "object of type '{}' has no len()", type_name(value));
}

int64_t as_index(const Value& value, std::string_view what) {
  if (!is_integer(value)) raise("TypeError", "{} must be an integer, not {}", what, type_name(value));
  return value.integer();
}

}  // namespace lora::jinja
