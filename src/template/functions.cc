#include "template/functions.h"

#include <algorithm>
#include <span>

#include "template/date_format.h"
#include "template/interpreter.h"
#include "template/native.h"
#include "template/operators.h"
#include "template/printing.h"

namespace lora::jinja {
namespace {

constexpr int64_t kMostRange = 100'000;  // of Jinja's sandbox

struct Row {
  std::string_view name;
  Parameters parameters;
  size_t required;
  Value (*run)(Call& call);
};

struct Function final : Thing {
  explicit Function(const Row& which) : row(which) {}
  std::string_view type() const override { return "function"; }
  std::string shown() const override { return fmt::format("<function {}>", row.name); }
  Value call(Interpreter& interpreter, Arguments& arguments) const override {
    const Value nobody;  // a function of its own
    Call call(interpreter, nobody, arguments, row.name.data(), row.parameters, row.required);
    return row.run(call);
  }
  const Row& row;
};

Value range(Call& call) {
  for (size_t i = 0; i < 3; ++i) {
    if (call[i] && call[i]->is_undefined()) fail_undefined(*call[i]);
    if (call[i] && call[i]->is(Kind::none))
      raise("TypeError", "'NoneType' object cannot be interpreted as an integer");
  }
  const bool has_start = call[1] != nullptr;
  const int64_t start = has_start ? call.integer(0) : 0, stop = call.integer(has_start ? 1 : 0),
                step = call.integer(2, 1);
  if (step == 0) raise("ValueError", "range() arg 3 must not be zero");
  const bool is_empty = step > 0 ? start >= stop : start <= stop;
  const uint64_t span = is_empty   ? 0
                        : step > 0 ? uint64_t(stop) - uint64_t(start)
                                   : uint64_t(start) - uint64_t(stop);
  const uint64_t apart = step > 0 ? uint64_t(step) : 0 - uint64_t(step);
  const uint64_t count = is_empty ? 0 : (span - 1) / apart + 1;
  if (count > uint64_t{kMostRange})
    raise("OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).",
          kMostRange);
  std::vector<Value> items;
  items.reserve(count);
  for (uint64_t i = 0; i < count; ++i) items.push_back(int64_t(uint64_t(start) + i * uint64_t(step)));
  std::string shown = call[2] && step != 1 ? fmt::format("range({}, {}, {})", start, stop, step)
                                           : fmt::format("range({}, {})", start, stop);
  return make_list(Shape::range, std::move(items), std::move(shown));
}

// What dict(...) makes of its arguments.
std::vector<std::pair<Value, Value>> pairs_of(const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> items;
  if (arguments.positional.size() > 1)
    raise("TypeError", "dict expected at most 1 argument, got {}", arguments.positional.size());
  for (const Value& given : arguments.positional) {
    if (given.is(Kind::dict)) {
      items = given.dict().items;
      continue;
    }
    const Value pairs = items_of(given);
    for (const Value& pair : pairs.items().items()) {
      const Value parts = items_of(pair);
      if (parts.items().items().size() != 2)
        raise("ValueError", "dictionary update sequence element #{} has length {}; 2 is required",
              items.size(), parts.items().items().size());
      items.emplace_back(parts.items().items()[0], parts.items().items()[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) items.emplace_back(name, value);
  return items;
}

Value make_namespace(Call& call) {
  const Value dict = Value::dict(pairs_of(call.all));
  for (const auto& [name, value] : dict.dict().items) {
    if (!name.is_string()) raise("TypeError", "not supported: a namespace's attribute {}", repr(name));
  }
  return make_thing<Namespace>(dict.dict().items);
}

Value raise_exception(Call& call) {
  throw Raised("TemplateError", str(*call[0]));
}

// As Python's datetime.now().strftime, which knows no time zone here.
Value strftime_now(Call& call) {
  if (!call[0]->is_string())
    raise("TypeError", "strftime() argument 1 must be str, not {}", type_name(*call[0]));
  std::string format;
  const std::string_view given = call[0]->text();
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i] != '%' || i + 1 == given.size()) {
      format += given[i];
      continue;
    }
    const char letter = given[++i];
    if (letter == 'f') format += "000000";
    if (letter == 's') raise("ValueError", "not supported: %s of strftime_now");
    if (letter != 'f') (format += '%') += letter;
  }
  const size_t most = std::min<size_t>(format.size() * 64 + 256, 1 << 20);
  std::optional<std::string> text = format_date(format, call.interpreter.now(), most);
  if (!text) raise("ValueError", "strftime_now writes too much");
  return std::move(*text);
}

// A method of a thing that has state.
struct Member final : Thing {
  Member(const Thing& of, std::string_view called, Value (*act)(const Thing&, Arguments&))
      : Thing(sizeof(Member)), owner(Kind::object, &of), name(called), run(act) {
    hold(owner);
  }
  std::string_view type() const override { return "method"; }
  std::string shown() const override { return fmt::format("<bound method {}>", name); }
  Value call(Interpreter&, Arguments& arguments) const override { return run(thing(owner), arguments); }
  const Value owner;
  const std::string_view name;
  Value (*const run)(const Thing&, Arguments&);
};

struct Cycler final : Thing {
  explicit Cycler(const Value& of) : Thing(sizeof(Cycler)), items(of) { hold(of); }
  std::string_view type() const override { return "Cycler"; }
  std::string shown() const override { return "<Cycler>"; }
  bool can_be_called() const override { return false; }
  const Value& current() const { return items.items().items()[at]; }
  std::optional<Value> attribute(std::string_view name) const override {
    if (name == "current") return current();
    if (name == "next") {
      return make_thing<Member>(*this, "next", [](const Thing& of, Arguments&) {
        const auto& cycler = static_cast<const Cycler&>(of);
        const Value found = cycler.current();
        cycler.at = (cycler.at + 1) % cycler.items.items().items().size();
        return found;
      });
    }
    if (name == "reset") {
      return make_thing<Member>(*this, "reset", [](const Thing& of, Arguments&) {
        static_cast<const Cycler&>(of).at = 0;
        return Value(nullptr);
      });
    }
    return std::nullopt;
  }
  const Value items;
  mutable size_t at = 0;
};

struct Joiner final : Thing {
  explicit Joiner(const Value& between) : Thing(sizeof(Joiner)), separator(between) { hold(between); }
  std::string_view type() const override { return "Joiner"; }
  std::string shown() const override { return "<Joiner>"; }
  Value call(Interpreter&, Arguments&) const override {
    return std::exchange(is_used, true) ? separator : Value("");
  }
  const Value separator;
  mutable bool is_used = false;
};

const Row kFunctions[] = {
    {"range", {"start", "stop", "step"}, 1, range},
    {"dict", {kAny}, 0, [](Call& call) { return Value::dict(pairs_of(call.all)); }},
    {"namespace", {kAny}, 0, make_namespace},
    {"raise_exception", {"message"}, 1, raise_exception},
    {"strftime_now", {"format"}, 1, strftime_now},
    {"cycler",
     {kAny},
     0,
     [](Call& call) {
       if (call.all.positional.empty()) raise("RuntimeError", "at least one item has to be provided");
       return make_thing<Cycler>(Value::list(call.all.positional));
     }},
    {"joiner", {"sep"}, 0, [](Call& call) { return make_thing<Joiner>(call[0] ? *call[0] : Value(", ")); }},
    {"lipsum",
     {kAny},
     0,
     [](Call&) -> Value { raise("RuntimeError", "not supported: the function lipsum"); }},
};

// Made outside of every rendering's account.
std::vector<std::pair<std::string_view, Value>> make_functions() {
  Meter* const meter = std::exchange(Meter::current, nullptr);
  std::vector<std::pair<std::string_view, Value>> all;
  for (const Row& row : kFunctions) all.emplace_back(row.name, make_thing<Function>(row));
  Meter::current = meter;
  return all;
}

}  // namespace

const Value* find_function(std::string_view name) {
  static const auto all = make_functions();
  for (const auto& [have, value] : all) {
    if (have == name) return &value;
  }
  return nullptr;
}

}  // namespace lora::jinja
