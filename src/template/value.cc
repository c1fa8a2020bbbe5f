#include "template/value.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "template/objects.h"
#include "template/operators.h"
#include "template/printing.h"

namespace lora::jinja {
namespace {

void enter(const Object* object) {
  if (object) object->users.fetch_add(1, std::memory_order_relaxed);
}
void leave(const Object* object) {
  if (object && object->users.fetch_sub(1, std::memory_order_acq_rel) == 1) delete object;
}

constexpr size_t kIndexedFrom = 9;  // items; fewer are found faster one by one

}  // namespace

Value::Value(Kind kind, const Object* object) : kind_(kind), object_(object) {
  enter(object_);
}
Value::Value(std::string text) : Value(Kind::string, new String(std::move(text))) {}
Value Value::list(std::vector<Value> items) {
  return make_list(Shape::list, std::move(items));
}
Value Value::dict(std::vector<std::pair<Value, Value>> items) {
  return Value(Kind::dict, new Dict(std::move(items)));
}

Value::Value(const Value& other) : kind_(other.kind_), integer_(other.integer_) {
  enter(object());
}
Value::Value(Value&& other) noexcept : kind_(other.kind_), integer_(other.integer_) {
  other.kind_ = Kind::none;
}
Value& Value::operator=(const Value& other) {
  Value copy(other);
  return *this = std::move(copy);
}
Value& Value::operator=(Value&& other) noexcept {
  std::swap(kind_, other.kind_);
  std::swap(integer_, other.integer_);
  return *this;
}
Value::~Value() {
  leave(object());
}

const String& Value::string() const {
  return *static_cast<const String*>(object_);
}
std::string_view Value::text() const {
  return string().text;
}
const List& Value::items() const {
  return *static_cast<const List*>(object_);
}
const Dict& Value::dict() const {
  return *static_cast<const Dict*>(object_);
}
const Thing& thing(const Value& value) {
  return *static_cast<const Thing*>(value.object());
}

void Object::hold(const Value& value) {
  const Object* held = value.object();
  if (!held) return;
  depth = std::max(depth, held->depth + 1);
  holds_namespace |= held->holds_namespace;
  if (depth > uint32_t{kMostDepth})
    raise("RecursionError", "a value nests deeper than {} levels", kMostDepth);
}

String::String(std::string value, bool is_safe)
    : Object(value.size()), text(std::move(value)), safe(is_safe) {
  spend(text.size() / 64);
}
Value safe_string(std::string text) {
  return Value(Kind::string, new String(std::move(text), true));
}

List::List(Shape list_shape, std::vector<Value> values, std::string printed)
    : Object(values.size() * sizeof(Value)),
      shape(list_shape),
      shown(std::move(printed)),
      items_(std::move(values)) {
  spend(items_.size() / 4);
  for (const Value& item : items_) hold(item);
}
Value List::from(size_t begin) const {
  begin = std::min(begin, items_.size());
  auto* list = new List(shape, {items_.begin() + std::ptrdiff_t(begin), items_.end()});
  list->watch = watch;
  list->offset = offset + begin;
  return Value(Kind::list, list);
}
Value make_list(Shape shape, std::vector<Value> items, std::string shown) {
  return Value(Kind::list, new List(shape, std::move(items), std::move(shown)));
}

Dict::Dict(std::vector<std::pair<Value, Value>> values)
    : Object(values.size() * 2 * sizeof(Value)), items(std::move(values)) {
  spend(items.size());
  for (const auto& [key, value] : items) {
    hold(key);
    hold(value);
  }
  index();
}

// Leaves one item of each key.
void Dict::index() {
  std::vector<std::pair<uint64_t, uint32_t>> places;
  for (uint32_t i = 0; i < items.size(); ++i) places.emplace_back(hash_of(items[i].first), i);
  std::sort(places.begin(), places.end());
  std::vector<bool> drop(items.size());
  size_t dropped = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    if (drop[places[i].second]) continue;
    for (size_t k = i + 1; k < places.size() && places[k].first == places[i].first; ++k) {
      if (drop[places[k].second] || !equal(items[places[i].second].first, items[places[k].second].first))
        continue;
      items[places[i].second].second = items[places[k].second].second;
      drop[places[k].second] = true;
      ++dropped;
    }
  }
  if (dropped > 0) {
    size_t kept = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      if (drop[i]) continue;
      if (kept != i) items[kept] = std::move(items[i]);
      ++kept;
    }
    items.resize(kept);
    places.clear();
    for (uint32_t i = 0; i < items.size(); ++i) places.emplace_back(hash_of(items[i].first), i);
    std::sort(places.begin(), places.end());
  }
  if (items.size() < kIndexedFrom) return;
  grow(places.size() * sizeof(places[0]));
  places_ = std::move(places);
}

const Value* Dict::find(std::string_view key) const {
  if (places_.empty()) {
    for (const auto& [name, value] : items) {
      if (name.is_string() && name.text() == key) return &value;
    }
    return nullptr;
  }
  spend(key.size() / 16);
  const uint64_t hash = lora::hash(key);
  auto at = std::lower_bound(places_.begin(), places_.end(), std::pair(hash, uint32_t{0}));
  for (; at != places_.end() && at->first == hash; ++at) {
    spend();
    const auto& [name, value] = items[at->second];
    if (name.is_string() && name.text() == key) return &value;
  }
  return nullptr;
}

const Value* Dict::find(const Value& key) const {
  if (key.is_string()) return find(key.text());
  const uint64_t hash = hash_of(key);
  for (const auto& [name, value] : items) {
    spend();
    if (!name.is_string() && hash_of(name) == hash && equal(name, key)) return &value;
  }
  return nullptr;
}

uint64_t hash_of(const Value& value) {
  switch (value.kind()) {
    case Kind::string:
      spend(value.text().size() / 16);
      return lora::hash(value.text());
    case Kind::boolean:
    case Kind::integer:
      return uint64_t(value.integer()) * 0x9e3779b97f4a7c15ull;
    case Kind::real: {
      const double real = value.real();
      if (real == std::floor(real) && std::fabs(real) < 9e18) return hash_of(int64_t(real));
      return lora::hash({reinterpret_cast<const char*>(&real), sizeof(real)});
    }
    case Kind::list:
      if (value.items().shape == Shape::tuple) {
        uint64_t hash = lora::kHashStart;
        for (const Value& item : value.items().items()) hash = hash * 31 + hash_of(item);
        spend(value.items().items().size() + 1);
        return hash;
      }
      break;
    case Kind::dict:
      break;
    default:
      return uint64_t(value.kind());
  }
  raise("TypeError", "unhashable type: '{}'", type_name(value));
}

std::string Missing::message() const {
  if (why == hint) return std::string(what.text());
  if (why == name) return repr(what) + " is undefined";
  if (what.is_string()) return fmt::format("{} has no attribute {}", repr(Value(owner)), repr(what));
  return fmt::format("{} has no element {}", owner, repr(what));
}
void Missing::fail() const {
  throw Raised(unsafe ? "SecurityError" : "UndefinedError", message());
}

Value undefined_name(Value name) {
  return Value(Kind::undefined, new Missing(Missing::name, std::move(name)));
}
Value undefined_hint(std::string message) {
  return Value(Kind::undefined, new Missing(Missing::hint, std::move(message)));
}
void fail_undefined(const Value& undefined) {
  if (!undefined.object()) raise("UndefinedError", "a value is undefined");
  static_cast<const Missing*>(undefined.object())->fail();
}

Namespace::Namespace(std::vector<std::pair<Value, Value>> values) : Thing(values.size() * 2 * sizeof(Value)) {
  holds_namespace = true;
  for (auto& [name, value] : values) {
    hold(value);
    items.emplace_back(name, value);
  }
}

// A namespace within a namespace could come to hold itself, so only the call namespace(...) makes one.
void Namespace::set(const Value& name, Value value) const {
  if (value.object() && value.object()->holds_namespace)
    raise("TypeError", "not supported: a namespace kept as attribute {} of a namespace", repr(name));
  for (auto& [have, old] : items) {
    if (have.text() == name.text()) {
      old = std::move(value);
      return;
    }
  }
  spend(items.size());
  if (items.size() >= 10'000) raise("MemoryError", "a namespace has more than 10000 attributes");
  items.emplace_back(name, std::move(value));
}
std::optional<Value> Namespace::attribute(std::string_view name) const {
  for (const auto& [have, value] : items) {
    if (have.text() == name) return value;
  }
  return std::nullopt;
}
std::string Namespace::shown() const {
  return "<Namespace " + repr(Value::dict(items)) + ">";
}

namespace {

Value from_json(const nlohmann::ordered_json& json, int depth) {
  using Type = nlohmann::ordered_json::value_t;
  if (depth > kMostDepth) fail("JSON: nests deeper than {} levels", kMostDepth);
  switch (json.type()) {
    case Type::boolean:
      return json.get<bool>();
    case Type::number_unsigned:
      if (json.get<uint64_t>() > uint64_t{INT64_MAX})
        fail("JSON: the number {} has more than 64 bits", json.get<uint64_t>());
      [[fallthrough]];
    case Type::number_integer:
      return json.get<int64_t>();
    case Type::number_float:
      return json.get<double>();
    case Type::string:
      return json.get_ref<const std::string&>();
    case Type::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(from_json(item, depth + 1));
      return Value::list(std::move(items));
    }
    case Type::object: {
      std::vector<std::pair<Value, Value>> items;
      items.reserve(json.size());
      for (const auto& [key, value] : json.items()) items.emplace_back(key, from_json(value, depth + 1));
      return Value::dict(std::move(items));
    }
    default:
      return nullptr;
  }
}

}  // namespace

Value from_json(const nlohmann::ordered_json& json) {
  return from_json(json, 1);
}

}  // namespace lora::jinja
