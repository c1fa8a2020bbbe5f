// Filters of lists and dicts, those that take one value for another, and how a filter is found and called.
#include <algorithm>
#include <functional>
#include <unordered_map>

#include "template/filters.h"
#include "template/operators.h"
#include "template/printing.h"
#include "template/tests.h"
#include "template/text.h"

namespace lora::jinja {
namespace {

constexpr Parameters kOrder = {"case_sensitive", "attribute"};

Value generator(std::vector<Value> items) {
  return make_list(Shape::generator, std::move(items));
}

// The attribute "a.b.0" of each value; a number is an index. Nothing, or None, is the value itself.
class Getter {
 public:
  Getter(const Value* attribute, const Value* otherwise = nullptr) : otherwise_(otherwise) {
    if (!attribute || attribute->is(Kind::none)) return;
    if (!attribute->is_string()) {
      parts_.push_back(*attribute);
      return;
    }
    const std::string_view dot = ".";
    for (const std::string_view part : split(attribute->text(), &dot, -1)) {
      const bool is_number =
          !part.empty() && part.size() < 10 &&
          std::all_of(part.begin(), part.end(), [](char c) { return is_digit(uint8_t(c)); });
      parts_.push_back(is_number ? Value(int64_t(std::stoi(std::string(part)))) : Value(part));
    }
  }
  Value operator()(const Value& from) const {
    Value value = from;
    for (const Value& part : parts_) {
      spend();
      value = item_of(value, part);
      if (otherwise_ && !otherwise_->is(Kind::none) && value.is_undefined()) value = *otherwise_;
    }
    return value;
  }

 private:
  std::vector<Value> parts_;
  const Value* otherwise_;
};

Value ignoring_case(const Value& value, bool case_sensitive) {
  return value.is_string() && !case_sensitive ? Value(lower(value.text())) : value;
}

// The items in the order of their keys, equal ones as they stood, in reverse order too.
std::vector<Value> sorted(const std::vector<Value>& items, const std::function<Value(const Value&)>& key,
                          bool reverse) {
  std::vector<std::pair<Value, size_t>> keys;
  for (size_t i = 0; i < items.size(); ++i) keys.emplace_back(key(items[i]), i);
  std::stable_sort(keys.begin(), keys.end(), [&](const auto& a, const auto& b) {
    spend();
    return reverse ? less(b.first, a.first) : less(a.first, b.first);
  });
  std::vector<Value> out;
  for (const auto& [ignored, i] : keys) out.push_back(items[i]);
  return out;
}

Value sort(Call& call) {
  const bool case_sensitive = call.flag(1);
  std::vector<Getter> getters;
  if (call.has(2) && call[2]->is_string()) {
    const std::string_view comma = ",";
    for (const std::string_view one : split(call[2]->text(), &comma, -1)) {
      const Value attribute(one);
      getters.emplace_back(&attribute);
    }
  } else {
    getters.emplace_back(call[2]);
  }
  const Value items = items_of(call.self);
  return Value::list(sorted(
      items.items().items(),
      [&](const Value& item) {
        if (getters.size() == 1) return ignoring_case(getters[0](item), case_sensitive);
        std::vector<Value> keys;
        for (const Getter& getter : getters) keys.push_back(ignoring_case(getter(item), case_sensitive));
        return Value::list(std::move(keys));
      },
      call.flag(0)));
}

Value dict_sort(Call& call) {
  if (call.self.is_undefined()) fail_undefined(call.self);
  if (!call.self.is(Kind::dict))
    raise("AttributeError", "'{}' object has no attribute 'items'", type_name(call.self));
  const std::string_view by = call.text(1, "key");
  if (by != "key" && by != "value")
    raise("FilterArgumentError", "You can only sort by either \"key\" or \"value\"");
  std::vector<Value> items;
  for (const auto& [key, value] : call.self.dict().items)
    items.push_back(make_list(Shape::tuple, {key, value}));
  const bool case_sensitive = call.flag(0);
  return Value::list(sorted(
      items,
      [&](const Value& item) { return ignoring_case(item.items().items()[by == "value"], case_sensitive); },
      call.flag(2)));
}

Value group_by(Call& call) {
  const Getter getter(call[0], call[1]);
  const bool case_sensitive = call.flag(2);
  const auto key = [&](const Value& item) { return ignoring_case(getter(item), case_sensitive); };
  const Value items = items_of(call.self);
  const std::vector<Value> in_order = sorted(items.items().items(), key, false);
  std::vector<Value> groups, group;
  for (size_t i = 0; i < in_order.size(); ++i) {
    group.push_back(in_order[i]);
    if (i + 1 < in_order.size() && equal(key(in_order[i]), key(in_order[i + 1]))) continue;
    Value name = getter(group[0]);
    groups.push_back(make_list(Shape::tuple, {std::move(name), Value::list(std::move(group))}, "group"));
    group.clear();
  }
  return Value::list(std::move(groups));
}

Value unique(Call& call) {
  const Getter getter(call[1]);
  const bool case_sensitive = call.flag(0);
  std::unordered_multimap<uint64_t, Value> seen;
  std::vector<Value> out;
  const Value items = items_of(call.self);
  for (const Value& item : items.items().items()) {
    Value key = ignoring_case(getter(item), case_sensitive);
    const auto [begin, end] = seen.equal_range(hash_of(key));
    const bool is_known = std::any_of(begin, end, [&](const auto& one) {
      spend();
      return equal(one.second, key);
    });
    spend();
    if (is_known) continue;
    seen.emplace(hash_of(key), key);
    out.push_back(item);
  }
  return generator(std::move(out));
}

template <bool greatest>
Value extreme(Call& call) {
  const Getter getter(call[1]);
  const bool case_sensitive = call.flag(0);
  const Value items = items_of(call.self);
  const std::vector<Value>& all = items.items().items();
  if (all.empty()) return undefined_hint("No aggregated item, sequence was empty.");
  const Value* best = &all[0];
  Value best_key = ignoring_case(getter(all[0]), case_sensitive);
  for (size_t i = 1; i < all.size(); ++i) {
    Value key = ignoring_case(getter(all[i]), case_sensitive);
    if (!(greatest ? compare(Op::gt, key, best_key) : less(key, best_key))) continue;
    best = &all[i];
    best_key = std::move(key);
  }
  return *best;
}

Value sum(Call& call) {
  const Getter getter(call[0]);
  Value total = call[1] ? *call[1] : Value(0);
  if (total.is_string()) raise("TypeError", "sum() can't sum strings [use ''.join(seq) instead]");
  const Value items = items_of(call.self);
  for (const Value& item : items.items().items()) {
    spend();
    total = arithmetic(Op::add, total, getter(item));
  }
  return total;
}

Value join(Call& call) {
  const Getter getter(call[1]);
  const std::string between = call[0] ? str(*call[0]) : "";
  const Value items = items_of(call.self);
  std::string out;
  bool is_first = true;
  for (const Value& item : items.items().items()) {
    spend();
    if (!is_first) out += between;
    is_first = false;
    append_str(out, getter(item));
    need_bytes(out.size() + between.size());
  }
  return out;
}

Value first(Call& call) {
  if (call.self.is(Kind::list) && call.self.items().is_once()) {
    std::vector<Value>& rest = call.self.items().rest();
    if (rest.empty()) return undefined_hint("No first item, sequence was empty.");
    spend(rest.size() / 16);
    const Value found = rest.front();
    rest.erase(rest.begin());
    return found;
  }
  if (call.self.is_string()) {
    const std::string_view text = call.self.text();
    if (!text.empty()) return item_of(call.self, 0);
  }
  const Value items = items_of(call.self);
  return items.items().items().empty() ? undefined_hint("No first item, sequence was empty.")
                                       : items.items().items().front();
}
Value last(Call& call) {
  const Value& value = call.self;
  if (!is_iterable(value) || (value.is(Kind::list) && value.items().is_once()))
    raise("TypeError", "'{}' object is not reversible", type_name(value));
  if (value.is_string() && !value.text().empty()) return item_of(value, -1);
  const Value items = items_of(value);
  return items.items().items().empty() ? undefined_hint("No last item, sequence was empty.")
                                       : items.items().items().back();
}
Value reverse(Call& call) {
  if (call.self.is_string()) return slice_of(call.self, nullptr, nullptr, -1);
  const bool was_once = call.self.is(Kind::list) && call.self.items().is_once();
  std::vector<Value> items = items_of(call.self).items().items();
  std::reverse(items.begin(), items.end());
  return make_list(was_once ? Shape::list : Shape::reversed, std::move(items));
}
Value to_list(Call& call) {
  return make_list(Shape::list, items_of(call.self).items().items());
}

Value batch(Call& call) {
  const int64_t size = call.integer(0);
  const Value items = items_of(call.self);
  std::vector<Value> out, part;
  for (const Value& item : items.items().items()) {
    if (int64_t(part.size()) == size) {
      out.push_back(Value::list(std::move(part)));
      part.clear();
    }
    part.push_back(item);
  }
  if (!part.empty()) {
    if (call.has(1) && int64_t(part.size()) < size) {
      if (size > int64_t(kMostBytes / sizeof(Value))) need_bytes(kMostBytes + 1);
      need_bytes(size_t(size) * sizeof(Value));
      part.resize(size_t(size), *call[1]);
    }
    out.push_back(Value::list(std::move(part)));
  }
  return generator(std::move(out));
}
Value slice(Call& call) {
  const int64_t slices = call.integer(0);
  const Value items = items_of(call.self);
  const std::vector<Value>& all = items.items().items();
  if (slices == 0) raise("ZeroDivisionError", "integer division or modulo by zero");
  std::vector<Value> out;
  const int64_t each = slices > 0 ? int64_t(all.size()) / slices : 0,
                extra = slices > 0 ? int64_t(all.size()) % slices : 0;
  auto at = all.begin();
  for (int64_t i = 0; i < slices; ++i) {
    spend();
    std::vector<Value> part(at, at + each + (i < extra));
    at += each + (i < extra);
    if (call.has(1) && i >= extra) part.push_back(*call[1]);
    out.push_back(Value::list(std::move(part)));
  }
  return generator(std::move(out));
}

Value items_filter(Call& call) {
  if (call.self.is_undefined()) return generator({});
  if (!call.self.is(Kind::dict)) raise("TypeError", "Can only get item pairs from a mapping.");
  std::vector<Value> out;
  for (const auto& [key, value] : call.self.dict().items)
    out.push_back(make_list(Shape::tuple, {key, value}));
  return generator(std::move(out));
}

Value otherwise(Call& call) {
  const bool is_missing = call.self.is_undefined() || (call.flag(1) && !truth(call.self));
  return !is_missing ? call.self : call[0] ? *call[0] : Value("");
}

Value attribute(Call& call) {
  return own_attribute_of(call.self, Value(str(*call[0])));
}

const Value* named(const Arguments& arguments, std::string_view name) {
  for (const auto& [key, value] : arguments.named) {
    if (key.text() == name) return &value;
  }
  return nullptr;
}
// The arguments behind the first `count`.
Arguments rest_of(const Arguments& arguments, size_t count) {
  const auto begin = arguments.positional.begin() + int64_t(std::min(count, arguments.positional.size()));
  return {{begin, arguments.positional.end()}, arguments.named};
}

Value map(Call& call) {
  if (!truth(call.self)) return generator({});
  std::vector<Value> out;
  const Value items = items_of(call.self);
  if (call.all.positional.empty() && named(call.all, "attribute")) {
    for (const auto& [key, value] : call.all.named) {
      if (key.text() != "attribute" && key.text() != "default")
        raise("FilterArgumentError", "Unexpected keyword argument {}", repr(key));
    }
    const Getter getter(named(call.all, "attribute"), named(call.all, "default"));
    for (const Value& item : items.items().items()) out.push_back(getter(item));
    return generator(std::move(out));
  }
  if (call.all.positional.empty()) raise("FilterArgumentError", "map requires a filter argument");
  const std::string name = str(call.all.positional[0]);
  const Filter* filter = find_filter(name);
  if (!filter) raise("TemplateRuntimeError", "No filter named {}.", quoted(name));
  for (const Value& item : items.items().items()) {
    spend();
    Arguments arguments = rest_of(call.all, 1);
    out.push_back(call_filter(call.interpreter, *filter, item, arguments));
  }
  return generator(std::move(out));
}

template <bool wanted, bool by_attribute>
Value select(Call& call) {
  if (!truth(call.self)) return generator({});
  const std::vector<Value>& given = call.all.positional;
  if (by_attribute && given.empty()) raise("FilterArgumentError", "Missing parameter for attribute name");
  const Getter getter(by_attribute ? &given[0] : nullptr);
  const Test* test = nullptr;
  if (given.size() > by_attribute) {
    const std::string name = str(given[by_attribute]);
    test = find_test(name);
    if (!test) raise("TemplateRuntimeError", "No test named {}.", quoted(name));
  }
  std::vector<Value> out;
  const Value items = items_of(call.self);
  for (const Value& item : items.items().items()) {
    spend();
    const Value value = getter(item);
    Arguments arguments = rest_of(call.all, by_attribute + 1);
    if ((test ? call_test(call.interpreter, *test, value, arguments) : truth(value)) == wanted)
      out.push_back(item);
  }
  return generator(std::move(out));
}

const Filter kListFilters[] = {
    {"length", kNone, 0, [](Call& call) -> Value { return length(call.self); }},
    {"count", kNone, 0, [](Call& call) -> Value { return length(call.self); }},
    {"default", {"default_value", "boolean"}, 0, otherwise},
    {"d", {"default_value", "boolean"}, 0, otherwise},
    {"items", kNone, 0, items_filter},
    {"join", {"d", "attribute"}, 0, join},
    {"map", {kAny}, 0, map},
    {"select", {kAny}, 0, select<true, false>},
    {"reject", {kAny}, 0, select<false, false>},
    {"selectattr", {kAny}, 0, select<true, true>},
    {"rejectattr", {kAny}, 0, select<false, true>},
    {"first", kNone, 0, first},
    {"last", kNone, 0, last},
    {"list", kNone, 0, to_list},
    {"reverse", kNone, 0, reverse},
    {"sort", {"reverse", "case_sensitive", "attribute"}, 0, sort},
    {"dictsort", {"case_sensitive", "by", "reverse"}, 0, dict_sort},
    {"groupby", {"attribute", "default", "case_sensitive"}, 1, group_by},
    {"unique", kOrder, 0, unique},
    {"min", kOrder, 0, extreme<false>},
    {"max", kOrder, 0, extreme<true>},
    {"sum", {"attribute", "start"}, 0, sum},
    {"batch", {"linecount", "fill_with"}, 1, batch},
    {"slice", {"slices", "fill_with"}, 1, slice},
    {"attr", {"name"}, 1, attribute},
};

}  // namespace

std::span<const Filter> list_filters() {
  return kListFilters;
}

const Filter* find_filter(std::string_view name) {
  const Filter* found = find_row(text_filters(), name);
  return found ? found : find_row(list_filters(), name);
}

Value call_filter(Interpreter& interpreter, const Filter& filter, const Value& value, Arguments& arguments) {
  Call call(interpreter, value, arguments, filter.name.data(), filter.parameters, filter.required);
  return filter.run(call);
}

}  // namespace lora::jinja
