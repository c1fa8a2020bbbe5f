// What can be called on a list or a dict, and how a method is called.
#include "template/methods.h"

#include <algorithm>

#include "template/operators.h"
#include "template/printing.h"

namespace lora::jinja {
namespace {

constexpr Parameters kValue = {kUnnamed};

Value list_count(Call& call) {
  const std::vector<Value>& items = call.self.items().items();
  spend(items.size());
  return int64_t(
      std::count_if(items.begin(), items.end(), [&](const Value& item) { return equal(item, *call[0]); }));
}
Value list_index(Call& call) {
  const std::vector<Value>& items = call.self.items().items();
  const int64_t size = int64_t(items.size());
  const auto bound = [&](size_t i, int64_t otherwise) {
    const int64_t index = call.integer(i, otherwise);
    return std::clamp<int64_t>(index < 0 ? index + size : index, 0, size);
  };
  spend(items.size());
  for (int64_t i = bound(1, 0); i < bound(2, size); ++i) {
    if (equal(items[size_t(i)], *call[0])) return i;
  }
  raise("ValueError", "{} is not in list", repr(*call[0]));
}

Value get(Call& call) {
  if (const Value* found = call.self.dict().find(*call[0])) return *found;
  return call[1] ? *call[1] : Value(nullptr);
}
Value keys(Call& call) {
  std::vector<Value> out;
  for (const auto& [key, value] : call.self.dict().items) out.push_back(key);
  return make_list(Shape::keys, std::move(out));
}
Value values(Call& call) {
  std::vector<Value> out;
  for (const auto& [key, value] : call.self.dict().items) out.push_back(value);
  return make_list(Shape::values, std::move(out));
}
Value items(Call& call) {
  std::vector<Value> out;
  for (const auto& [key, value] : call.self.dict().items)
    out.push_back(make_list(Shape::tuple, {key, value}));
  return make_list(Shape::items, std::move(out));
}
Value copy(Call& call) {
  return call.self;
}  // neither can change

Value refused(Call& call) {
  raise("SecurityError", "access to attribute '{}' is unsafe.", call.name);
}

const Method kListMethods[] = {
    {"count", kValue, 1, list_count},
    {"index", {kUnnamed, kUnnamed, kUnnamed}, 1, list_index},
    {"copy", kNone, 0, copy},
    {"append", kNone, 0, refused, true},
    {"extend", kNone, 0, refused, true},
    {"insert", kNone, 0, refused, true},
    {"pop", kNone, 0, refused, true},
    {"remove", kNone, 0, refused, true},
    {"clear", kNone, 0, refused, true},
    {"reverse", kNone, 0, refused, true},
    {"sort", kNone, 0, refused, true},
};
const Method kDictMethods[] = {
    {"get", {kUnnamed, kUnnamed}, 1, get},
    {"keys", kNone, 0, keys},
    {"values", kNone, 0, values},
    {"items", kNone, 0, items},
    {"copy", kNone, 0, copy},
    {"pop", kNone, 0, refused, true},
    {"popitem", kNone, 0, refused, true},
    {"update", kNone, 0, refused, true},
    {"setdefault", kNone, 0, refused, true},
    {"clear", kNone, 0, refused, true},
};

struct BoundMethod final : Thing {
  BoundMethod(const Value& of, const Method& which) : Thing(sizeof(BoundMethod)), self(of), method(which) {
    hold(of);
  }
  std::string_view type() const override { return "builtin_function_or_method"; }
  std::string shown() const override {
    return fmt::format("<built-in method {} of {} object>", method.name, type_name(self));
  }
  Value call(Interpreter& interpreter, Arguments& arguments) const override {
    return call_method(interpreter, self, method, arguments);
  }
  const Value self;
  const Method& method;
};

// A Markup's methods give Markup, and escape what is put into it.
Value escaped(const Value& value) {
  if (value.is_string() && !value.string().safe) return safe_string(escape_html(value.text()));
  if (!value.is(Kind::list)) return value;
  std::vector<Value> items;
  for (const Value& item : value.items().items())
    items.push_back(item.is_string() && !item.string().safe ? safe_string(escape_html(item.text())) : item);
  return make_list(value.items().shape, std::move(items));
}
Value marked(const Value& value) {
  if (value.is_string()) return safe_string(std::string(value.text()));
  if (!value.is(Kind::list)) return value;
  std::vector<Value> items;
  for (const Value& item : value.items().items()) items.push_back(marked(item));
  return make_list(value.items().shape, std::move(items));
}

}  // namespace

std::span<const Method> list_methods() {
  return kListMethods;
}
std::span<const Method> dict_methods() {
  return kDictMethods;
}

Value call_method(Interpreter& interpreter, const Value& self, const Method& method, Arguments& arguments) {
  const bool is_safe = self.is_string() && self.string().safe;
  if (is_safe && (method.name == "join" || method.name == "format")) {
    for (Value& value : arguments.positional) value = escaped(value);
    for (auto& [name, value] : arguments.named) value = escaped(value);
  }
  if (is_safe && method.name == "replace" && arguments.positional.size() > 1)
    arguments.positional[1] = escaped(arguments.positional[1]);
  Call call(interpreter, self, arguments, method.name.data(), method.parameters, method.required);
  const Value result = method.run(call);
  return is_safe ? marked(result) : result;
}

Value bound_method(const Value& self, const Method& method) {
  return make_thing<BoundMethod>(self, method);
}

}  // namespace lora::jinja
