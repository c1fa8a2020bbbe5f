// owner.name, owner[key] and slices.
#include <algorithm>

#include "template/methods.h"
#include "template/operators.h"
#include "template/printing.h"
#include "template/text.h"

namespace lora::jinja {
namespace {

std::string owner_name(const Value& owner) {
  if (owner.is(Kind::none)) return "None";
  if (owner.is(Kind::object)) return "jinja2." + std::string(type_name(owner)) + " object";
  return owner.is_string() && owner.string().safe ? "markupsafe.Markup object"
                                                  : std::string(type_name(owner)) + " object";
}
Value nothing(const Value& owner, const Value& key) {
  return Value(Kind::undefined, new Missing(Missing::of_object, key, owner_name(owner)));
}
Value refused_attribute(const Value& owner, const Value& name) {
  std::string why =
      fmt::format("access to attribute {} of '{}' object is unsafe.", repr(name), type_name(owner));
  return Value(Kind::undefined, new Missing(Missing::hint, Value(std::move(why)), "", true));
}

// What Python knows as an attribute of the object itself.
std::optional<Value> own_attribute(const Value& owner, const Value& name) {
  const std::string_view text = name.text();
  const Method* method = nullptr;
  if (owner.is_string()) method = find_method(string_methods(), text);
  if (owner.is(Kind::list) && owner.items().shape <= Shape::tuple) method = find_method(list_methods(), text);
  if (owner.is(Kind::dict)) method = find_method(dict_methods(), text);
  if (owner.is(Kind::list) && owner.items().shown == "group" && owner.items().items().size() == 2) {
    if (text == "grouper") return owner.items().items()[0];
    if (text == "list") return owner.items().items()[1];
  }
  if (owner.is(Kind::object)) {
    if (auto found = thing(owner).attribute(text)) return found;
  }
  if (method && method->is_refused && !(owner.is(Kind::list) && owner.items().shape == Shape::tuple))
    return refused_attribute(owner, name);
  if (method && !method->is_refused) return bound_method(owner, *method);
  if (text.size() > 4 && text.starts_with("__") && text.ends_with("__"))
    return refused_attribute(owner, name);
  return std::nullopt;
}

const Value* element(const Value& owner, const Value& key) {
  if (owner.is(Kind::dict)) {
    const bool is_key = !key.is(Kind::dict) && !(key.is(Kind::list) && key.items().shape != Shape::tuple);
    return is_key ? owner.dict().find(key) : nullptr;
  }
  if (!owner.is(Kind::list) || !owner.items().is_sequence()) return nullptr;
  if (!key.is(Kind::integer) && !key.is(Kind::boolean)) return nullptr;
  if (key.integer() >= 0) return owner.items().item(size_t(key.integer()));
  const std::vector<Value>& items = owner.items().items();
  const int64_t size = int64_t(items.size());
  const int64_t index = key.integer() + size;
  return index >= 0 ? &items[size_t(index)] : nullptr;
}

std::optional<Value> character(const Value& owner, const Value& key) {
  if (!owner.is_string() || (!key.is(Kind::integer) && !key.is(Kind::boolean))) return std::nullopt;
  const std::string_view text = owner.text();
  const int64_t index = key.integer() < 0 ? key.integer() + count_characters(text) : key.integer();
  if (index < 0) return std::nullopt;
  const size_t at = byte_of_character(text, index);
  if (at >= text.size()) return std::nullopt;
  std::string found(text.substr(at, byte_of_character(text.substr(at), 1)));
  return owner.string().safe ? safe_string(std::move(found)) : Value(std::move(found));
}

// The numbers that a slice picks: from start, count of them, step apart.
struct Picked {
  int64_t start, count, step;
};
Picked pick(int64_t size, const Value& start, const Value& stop, const Value& step) {
  const auto number = [](const Value& value, int64_t otherwise) {
    if (value.is(Kind::none)) return otherwise;
    if (!value.is(Kind::integer) && !value.is(Kind::boolean))
      raise("TypeError", "slice indices must be integers or None or have an __index__ method");
    return value.integer();
  };
  const int64_t by = std::max(number(step, 1), -INT64_MAX);
  if (by == 0) raise("ValueError", "slice step cannot be zero");
  const int64_t lowest = by < 0 ? -1 : 0, highest = by < 0 ? size - 1 : size;
  const auto bound = [&](const Value& value, int64_t otherwise) {
    int64_t index = number(value, otherwise);
    if (value.is(Kind::none)) return index;
    if (index < 0) index = index < -size ? lowest : index + size;
    return std::clamp(index, lowest, std::max(lowest, highest));
  };
  const int64_t from = bound(start, by < 0 ? highest : lowest), to = bound(stop, by < 0 ? lowest : highest);
  int64_t count = 0;
  if (by > 0 && from < to) count = (to - from - 1) / by + 1;
  if (by < 0 && to < from) count = (from - to - 1) / -by + 1;
  return {from, count, by};
}

std::string sliced_text(std::string_view text, const Value& start, const Value& stop, const Value& step) {
  const Picked picked = pick(count_characters(text), start, stop, step);
  if (picked.count == 0) return {};
  if (picked.step == 1) {
    text.remove_prefix(byte_of_character(text, picked.start));
    return std::string(text.substr(0, byte_of_character(text, picked.count)));
  }
  const std::vector<std::string_view> all = characters(text);
  std::string out;
  for (int64_t i = 0; i < picked.count; ++i) out += all[size_t(picked.start + i * picked.step)];
  return out;
}

}  // namespace

Value attribute_of(const Value& owner, const Value& name) {
  if (owner.is_undefined()) fail_undefined(owner);
  if (auto own = own_attribute(owner, name)) return *std::move(own);
  if (const Value* found = element(owner, name)) return *found;
  return nothing(owner, name);
}

Value own_attribute_of(const Value& owner, const Value& name) {
  if (owner.is_undefined()) fail_undefined(owner);
  if (auto own = own_attribute(owner, name)) return *std::move(own);
  return nothing(owner, name);
}

Value item_of(const Value& owner, const Value& key) {
  if (owner.is_undefined()) fail_undefined(owner);
  if (const Value* found = element(owner, key)) return *found;
  if (auto found = character(owner, key)) return *std::move(found);
  if (key.is_string()) {
    if (auto own = own_attribute(owner, key)) return *std::move(own);
  }
  return nothing(owner, key);
}

Value slice_of(const Value& owner, const Value& start, const Value& stop, const Value& step) {
  if (owner.is_undefined()) fail_undefined(owner);
  if (owner.is_string()) {
    std::string text = sliced_text(owner.text(), start, stop, step);
    return owner.string().safe ? safe_string(std::move(text)) : Value(std::move(text));
  }
  if (owner.is(Kind::dict)) raise("TypeError", "unhashable type: 'slice'");
  if (!owner.is(Kind::list) || !owner.items().is_sequence())
    raise("TypeError", "'{}' object is not subscriptable", type_name(owner));
  const bool to_end = stop.is(Kind::none) && step.is(Kind::none) && start.is(Kind::integer);
  if (owner.items().watch && to_end && start.integer() >= 0)
    return owner.items().from(size_t(start.integer()));
  const std::vector<Value>& items = owner.items().items();
  const Picked picked = pick(int64_t(items.size()), start, stop, step);
  std::vector<Value> out;
  out.reserve(size_t(picked.count));
  for (int64_t i = 0; i < picked.count; ++i) out.push_back(items[size_t(picked.start + i * picked.step)]);
  if (owner.items().shape != Shape::range) return make_list(owner.items().shape, std::move(out));
  if (out.empty()) return make_list(Shape::range, {}, "range(0, 0)");
  const int64_t first = out[0].integer(), by = out.size() > 1 ? out[1].integer() - first : 1;
  const int64_t end = out.back().integer() + by;
  std::string shown =
      by == 1 ? fmt::format("range({}, {})", first, end) : fmt::format("range({}, {}, {})", first, end, by);
  return make_list(Shape::range, std::move(out), std::move(shown));
}

}  // namespace lora::jinja
