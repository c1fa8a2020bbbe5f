// A value as a chat template sees it: Python's None, bool, int (64 bits), float, str, list, tuple, dict, what
// can be called, and Jinja's undefined. Values are cheap to copy; lists and dicts do not change once they are
// made, so that renderings in several threads may share them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lora::jinja {

enum class Kind : uint8_t { undefined, none, boolean, integer, real, string, list, dict, object };

struct Object;  // objects.h
struct String;
class List;
struct Dict;

class Value {
 public:
  Value() : integer_(0) { object_ = nullptr; }  // undefined
  Value(std::nullptr_t) : kind_(Kind::none), integer_(0) {}
  Value(bool value) : kind_(Kind::boolean), integer_(value) {}
  Value(int value) : kind_(Kind::integer), integer_(value) {}
  Value(int64_t value) : kind_(Kind::integer), integer_(value) {}
  Value(double value) : kind_(Kind::real), real_(value) {}
  Value(std::string text);
  Value(std::string_view text) : Value(std::string(text)) {}
  Value(const char* text) : Value(std::string(text)) {}
  static Value list(std::vector<Value> items);
  // Of equal keys the last one's value stays, at the first one's place. Error where a key is a list or dict.
  static Value dict(std::vector<std::pair<Value, Value>> items);

  Value(const Value& other);
  Value(Value&& other) noexcept;
  Value& operator=(const Value& other);
  Value& operator=(Value&& other) noexcept;
  ~Value();

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_undefined() const { return kind_ == Kind::undefined; }
  bool is_string() const { return kind_ == Kind::string; }

  // Only of a value of that kind.
  bool boolean() const { return integer_ != 0; }
  int64_t integer() const { return integer_; }  // of a boolean too: 0 or 1
  double real() const { return real_; }
  std::string_view text() const;
  const String& string() const;
  const List& items() const;
  const Dict& dict() const;

  // What the value refers to; null where it is a number, none, or an undefined that nobody asks about.
  const Object* object() const { return holds_object() ? object_ : nullptr; }
  // Takes a part in the object's life.
  Value(Kind kind, const Object* object);

 private:
  bool holds_object() const { return kind_ >= Kind::string || kind_ == Kind::undefined; }

  Kind kind_ = Kind::undefined;
  union {
    int64_t integer_;
    double real_;
    const Object* object_;
  };
};

// The order of keys is kept. Error where a number has more than 64 bits, or lists and objects nest deeper
// than 100.
Value from_json(const nlohmann::ordered_json& json);

}  // namespace lora::jinja
