#include "template/loop.h"

#include <algorithm>

#include "template/native.h"
#include "template/operators.h"
#include "template/printing.h"

namespace lora::jinja {

struct Loop::Cycle final : Thing {
  explicit Cycle(int64_t index) : Thing(sizeof(Cycle)), at(index) {}
  std::string_view type() const override { return "method"; }
  std::string shown() const override { return "<bound method LoopContext.cycle>"; }
  Value call(Interpreter&, Arguments& arguments) const override {
    if (arguments.positional.empty()) raise("TypeError", "no items for cycling given");
    return arguments.positional[size_t(at) % arguments.positional.size()];
  }
  const int64_t at;
};

struct Loop::Changed final : Thing {
  explicit Changed(const Loop& of) : Thing(sizeof(Changed)), loop(Kind::object, &of) { hold(loop); }
  std::string_view type() const override { return "method"; }
  std::string shown() const override { return "<bound method LoopContext.changed>"; }
  Value call(Interpreter&, Arguments& arguments) const override {
    const Value given = make_list(Shape::tuple, arguments.positional);
    // The loop keeps it, and must not come to keep itself.
    if (given.object()->holds_namespace)
      raise("TypeError", "not supported: a namespace given to loop.changed");
    return static_cast<const Loop&>(thing(loop)).changed(given);
  }
  const Value loop;
};

Loop::Loop(Interpreter& interpreter, const Stmt& stmt, const Value& items, int64_t level, Scope* scope)
    : Writer(sizeof(Loop)),
      interpreter_(interpreter),
      stmt_(stmt),
      items_(items),
      level_(level),
      scope_(scope) {
  holds_namespace = true;  // it changes
  hold(items);
}

const Value* Loop::peek() const {
  if (ahead_ || is_over_) return ahead_;
  if (is_counted_) {
    if (rest_.empty()) return nullptr;
    ahead_ = rest_.back();
    rest_.pop_back();
    return ahead_;
  }
  const std::vector<Value>& items = items_.items().unseen();
  while (at_ < items.size()) {
    const Value& item = items[at_++];
    if (!stmt_.condition || interpreter_.admits(stmt_, item, scope_)) return ahead_ = &item;
  }
  return nullptr;
}

const Value* Loop::next() const {
  const Value* item = peek();
  ahead_ = nullptr;
  if (!item) return nullptr;
  ++index_;
  before_ = current_;
  return current_ = item;
}

int64_t Loop::count() const {
  if (!stmt_.condition) return int64_t(items_.items().items().size());
  if (count_ >= 0) return count_;
  std::vector<const Value*> found;
  const Value* const first = ahead_;
  ahead_ = nullptr;
  while (const Value* item = peek()) {
    found.push_back(item);
    ahead_ = nullptr;
  }
  ahead_ = first;
  count_ = int64_t(found.size()) + index_ + 1 + (first != nullptr);
  rest_.assign(found.rbegin(), found.rend());
  is_counted_ = true;
  return count_;
}

bool Loop::changed(Value value) const {
  if (last_changed_ && equal(*last_changed_, value)) return false;
  last_changed_ = std::move(value);
  return true;
}

std::string Loop::shown() const {
  return fmt::format("<LoopContext {}/{}>", index_ + 1, count());
}

std::optional<Value> Loop::attribute(std::string_view name) const {
  if (name == "index") return index_ + 1;
  if (name == "index0") return index_;
  if (name == "first") return index_ == 0;
  if (name == "last" || name == "nextitem") items_.items().item(size_t(index_ + 1));  // is seen
  if (name == "last") return peek() == nullptr;
  if (name == "length") return count();
  if (name == "revindex") return count() - index_;
  if (name == "revindex0") return count() - index_ - 1;
  if (name == "previtem") return before_ ? *before_ : undefined_hint("there is no previous item");
  if (name == "nextitem") return peek() ? *peek() : undefined_hint("there is no next item");
  if (name == "depth") return level_ + 1;
  if (name == "depth0") return level_;
  if (name == "cycle") return make_thing<Cycle>(index_);
  if (name == "changed") return make_thing<Changed>(*this);
  return std::nullopt;
}

void Loop::write(Interpreter& interpreter, Arguments& arguments) const {
  if (!stmt_.is_recursive)
    raise("TypeError", "The loop must have the 'recursive' marker to be called recursively.");
  const Value nothing;
  const Call call(interpreter, nothing, arguments, "loop", {"iterable"}, 1);
  interpreter.run_loop(stmt_, items_of(*call[0]), level_ + 1, scope_);
}

}  // namespace lora::jinja
