// What values refer to. Objects are counted, and their bytes are the rendering's that made them.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "template/meter.h"
#include "template/value.h"

namespace lora::jinja {

class Interpreter;

struct Object {
  explicit Object(size_t size = 0) { grow(sizeof(Object) + size); }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() {
    if (meter_) meter_->give_back(bytes_);
  }
  mutable std::atomic<uint32_t> users{0};
  uint32_t depth = 0;            // lists and dicts within it, the most
  bool holds_namespace = false;  // itself or anything within it can change

 protected:
  void grow(size_t bytes) {
    if (!meter_) return;
    meter_->take(bytes);
    bytes_ += bytes;
  }
  // Notes what the object holds. Raises where it nests too deep.
  void hold(const Value& value);

 private:
  Meter* meter_ = Meter::current;
  size_t bytes_ = 0;
};

struct String final : Object {
  explicit String(std::string value, bool is_safe = false);
  const std::string text;
  const bool safe;  // markupsafe's Markup
};
Value safe_string(std::string text);

// What Python has as list, tuple and the like. A generator is read once.
enum class Shape : uint8_t { list, tuple, range, keys, values, items, generator, reversed };

// What a rendering has seen of a list so far: it would have gone the same way with any list that begins with
// the same n_seen items.
struct Watch {
  static constexpr size_t kAll = ~size_t{0};  // that there are no more, too
  size_t n_seen = 0;
  void see(size_t n) { n_seen = n > n_seen ? n : n_seen; }
};

class List final : public Object {
 public:
  List(Shape shape, std::vector<Value> items, std::string shown = {});
  const Shape shape;
  const std::string shown;  // how a range prints; "group" of a tuple that groupby made
  const std::vector<Value>& items() const {
    if (watch) watch->see(Watch::kAll);
    return items_;
  }
  // Where a watched list is looked at piece by piece: one item, null behind the last; whether there are any;
  // the list from there on, which is watched too. unseen() is for who says otherwise what was seen.
  const Value* item(size_t i) const {
    if (watch) watch->see(i < items_.size() ? offset + i + 1 : Watch::kAll);
    return i < items_.size() ? &items_[i] : nullptr;
  }
  bool is_empty() const { return item(0) == nullptr; }
  Value from(size_t begin) const;
  const std::vector<Value>& unseen() const { return items_; }
  std::vector<Value>& rest() const { return items_; }  // of a generator, which reading changes
  mutable Watch* watch = nullptr;
  size_t offset = 0;  // of its first item in the list that is watched
  bool is_once() const { return shape == Shape::generator || shape == Shape::reversed; }
  bool is_sequence() const { return shape <= Shape::range; }  // has a length and elements by number

 private:
  mutable std::vector<Value> items_;
};
Value make_list(Shape shape, std::vector<Value> items, std::string shown = {});

struct Dict final : Object {
  explicit Dict(std::vector<std::pair<Value, Value>> items);
  std::vector<std::pair<Value, Value>> items;
  // Raises where the key cannot be one.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;

 private:
  void index();
  std::vector<std::pair<uint64_t, uint32_t>> places_;  // hash and position, sorted; of large dicts only
};

// Why a value is undefined.
struct Missing final : Object {
  enum Why { name, of_object, hint };
  Missing(Why why_, Value what_, std::string owner_ = {}, bool unsafe_ = false)
      : Object(sizeof(Missing) + owner_.size()),
        why(why_),
        what(std::move(what_)),
        owner(std::move(owner_)),
        unsafe(unsafe_) {}
  const Why why;
  const Value what;         // the name, the attribute or index, or the whole message
  const std::string owner;  // type of the object that lacks it
  const bool unsafe;        // the sandbox refuses it
  std::string message() const;
  [[noreturn]] void fail() const;
};
Value undefined_name(Value name);
Value undefined_hint(std::string message);
[[noreturn]] void fail_undefined(const Value& undefined);

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<Value, Value>> named;  // names are strings
};

// Whatever is neither data nor number: macros, functions, loops, namespaces.
struct Thing : Object {
  using Object::Object;
  virtual std::string_view type() const = 0;  // Python's name of the type
  virtual std::string shown() const = 0;
  virtual bool can_be_called() const { return true; }
  virtual Value call(Interpreter&, Arguments&) const {
    raise("TypeError", "'{}' object is not callable", type());
  }
  virtual std::optional<Value> attribute(std::string_view) const { return std::nullopt; }
};
const Thing& thing(const Value& value);  // of Kind::object

struct Namespace final : Thing {
  explicit Namespace(std::vector<std::pair<Value, Value>> items);
  mutable std::vector<std::pair<Value, Value>> items;
  void set(const Value& name, Value value) const;
  std::string_view type() const override { return "Namespace"; }
  std::string shown() const override;
  bool can_be_called() const override { return false; }
  std::optional<Value> attribute(std::string_view name) const override;
};

template <class T, class... Args>
Value make_thing(Args&&... args) {
  return Value(Kind::object, new T(std::forward<Args>(args)...));
}

// Hash of what can be a key: equal values have equal hashes. Raises where it cannot be one.
uint64_t hash_of(const Value& value);

}  // namespace lora::jinja
