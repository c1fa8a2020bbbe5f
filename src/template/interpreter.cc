#include "template/interpreter.h"

#include <algorithm>

#include "template/filters.h"
#include "template/functions.h"
#include "template/loop.h"
#include "template/methods.h"
#include "template/operators.h"
#include "template/printing.h"
#include "template/tests.h"

namespace lora::jinja {

// A scope of its own, until it ends.
class Interpreter::Enter {
 public:
  Enter(Interpreter& in, Scope* parent) : in_(in), before_(in.scope_), own_(in.take_scope()) {
    own_->parent = parent;
    in_.scope_ = own_;
  }
  explicit Enter(Interpreter& in) : Enter(in, in.scope_) {}
  ~Enter() {
    in_.scope_ = before_;
    if (own_->is_kept) return;
    own_->names.clear();
    in_.free_scopes_.push_back(own_);
  }
  Enter(const Enter&) = delete;
  Enter& operator=(const Enter&) = delete;

 private:
  Interpreter& in_;
  Scope *const before_, *const own_;
};

class Interpreter::Deeper {
 public:
  explicit Deeper(Interpreter& in) : depth_(in.depth_) {
    if (++depth_ > kMostRecursion) {
      --depth_;
      raise("RecursionError", "maximum recursion depth exceeded");
    }
  }
  ~Deeper() { --depth_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

 private:
  int& depth_;
};

Interpreter::Interpreter(const Program& program, std::span<const Variable> variables, const Date& now,
                         Beginnings* beginnings)
    : outer_meter_(std::exchange(Meter::current, &meter_)),
      program_(program),
      now_(now),
      beginnings_(beginnings),
      globals_(program.names.size()) {
  for (size_t id = 0; id < globals_.size(); ++id) {
    const std::string& name = program.names[id];
    const auto given =
        std::find_if(variables.begin(), variables.end(), [&](const Variable& v) { return v.name == name; });
    if (given != variables.end()) {
      globals_[id] = given->value;
    } else if (const Value* function = find_function(name)) {
      globals_[id] = *function;
    }
    if (beginnings && name == beginnings->prompt) prompt_id_ = NameId(id);
    if (beginnings && name == beginnings->list && globals_[id] && globals_[id]->is(Kind::list)) {
      watched_ = *globals_[id];
      watched_.items().watch = &watch_;
      beginnings->found.assign(watched_.items().unseen().size(), {});
    }
  }
}

Interpreter::~Interpreter() {
  if (watched_.is(Kind::list)) watched_.items().watch = nullptr;  // whoever gave it has it still
  Meter::current = outer_meter_;
}

Rendered Interpreter::run() {
  try {
    exec(program_.body);
  } catch (const Raised& error) {
    throw TemplateError(error.line > 0 ? error.line : line_, error.type, error.message, error.hits_bound);
  }
  return std::move(result_);
}

// --- names ---

const Value* Interpreter::find(NameId id) const {
  for (const Scope* scope = scope_; scope; scope = scope->parent) {
    for (const auto& [name, value] : scope->names) {
      if (name == id) return &value;
    }
  }
  asks_for_prompt_ |= id == prompt_id_;
  return globals_[id] ? &*globals_[id] : nullptr;
}

void Interpreter::set(NameId id, Value value) {
  if (!scope_) {
    asks_for_prompt_ |= id == prompt_id_;
    globals_[id] = std::move(value);
    return;
  }
  for (auto& [name, old] : scope_->names) {
    if (name == id) {
      old = std::move(value);
      return;
    }
  }
  scope_->names.emplace_back(id, std::move(value));
}

void Interpreter::assign(const Expr& target, const Value& value) {
  if (target.kind == Expr::name) return set(target.id, value);
  line_ = target.line;
  if (target.kind == Expr::attribute_target) {
    const Value* owner = find(target.id);
    const auto* space =
        owner && owner->is(Kind::object) ? dynamic_cast<const Namespace*>(owner->object()) : nullptr;
    if (!space) raise("TemplateRuntimeError", "cannot assign attribute on non-namespace object");
    return space->set(target.value, value);
  }
  if (!is_iterable(value)) raise("TypeError", "cannot unpack non-iterable {} object", type_name(value));
  const Value held = items_of(value);
  const std::vector<Value>& items = held.items().items();
  if (items.size() > target.parts.size())
    raise("ValueError", "too many values to unpack (expected {})", target.parts.size());
  if (items.size() < target.parts.size())
    raise("ValueError", "not enough values to unpack (expected {}, got {})", target.parts.size(),
          items.size());
  for (size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i]);
}

Scope* Interpreter::take_scope() {
  if (free_scopes_.empty()) {
    scopes_.push_back(std::make_unique<Scope>());
    free_scopes_.reserve(scopes_.size());  // so that giving one back never fails
    return scopes_.back().get();
  }
  Scope* const scope = free_scopes_.back();
  free_scopes_.pop_back();
  return scope;
}

void Interpreter::keep_scopes() {
  for (Scope* scope = scope_; scope && !scope->is_kept; scope = scope->parent) {
    scope->is_kept = true;
    meter_.take(sizeof(Scope) + scope->names.size() * sizeof(scope->names[0]));
  }
}

// --- expressions ---

const Value& Interpreter::look(const Expr& expr, Value& store) {
  if (expr.kind == Expr::constant) return expr.value;
  if (expr.kind == Expr::name) {
    if (const Value* found = find(expr.id)) return *found;
  }
  return store = eval(expr);
}
bool Interpreter::is_true(const Expr& expr) {
  Value store;
  return truth(look(expr, store));
}

Value Interpreter::eval(const Expr& expr) {
  meter_.step(1);
  if (expr.kind == Expr::constant) return expr.value;
  const Deeper deeper(*this);
  Value a, b;
  switch (expr.kind) {
    case Expr::constant:
      break;
    case Expr::name: {
      const Value* found = find(expr.id);
      return found ? *found : undefined_name(expr.value);
    }
    case Expr::tuple:
      return make_list(Shape::tuple, eval_all(expr.parts));
    case Expr::list:
      return Value::list(eval_all(expr.parts));
    case Expr::dict:
      return eval_dict(expr);
    case Expr::negate:
      return negate(look(*expr.parts[0], a));
    case Expr::plus:
      return plus(look(*expr.parts[0], a));
    case Expr::not_:
      return !is_true(*expr.parts[0]);
    case Expr::and_:
    case Expr::or_:
      a = eval(*expr.parts[0]);
      return truth(a) == (expr.kind == Expr::and_) ? eval(*expr.parts[1]) : a;
    case Expr::condition:
      return eval_condition(expr);
    case Expr::arithmetic: {
      const Value& left = look(*expr.parts[0], a);
      const Value& right = look(*expr.parts[1], b);
      line_ = expr.line;
      return arithmetic(expr.ops[0], left, right);
    }
    case Expr::compare:
      return eval_comparison(expr);
    case Expr::concat: {
      std::string text;
      for (const ExprPtr& part : expr.parts) {
        append_str(text, look(*part, a));
        need_bytes(text.size());
      }
      return text;
    }
    case Expr::attribute: {
      const Value& owner = look(*expr.parts[0], a);
      line_ = expr.line;
      if (owner.is(Kind::dict) && !expr.of_dict) {
        if (const Value* found = owner.dict().find(expr.value.text())) return *found;
      }
      return attribute_of(owner, expr.value);
    }
    case Expr::item: {
      const Value& owner = look(*expr.parts[0], a);
      if (expr.parts[1]->kind == Expr::slice) {
        const Value held = owner;
        return eval_slice(expr);
      }
      const Value& key = look(*expr.parts[1], b);
      line_ = expr.line;
      return item_of(owner, key);
    }
    case Expr::slice:
      break;
    case Expr::call:
      return *eval_call(expr, false);
    case Expr::filter:
      return eval_filter(expr);
    case Expr::test:
      return eval_test(expr);
    case Expr::attribute_target:
      break;
  }
  raise("RuntimeError", "an expression that has no value");
}

std::vector<Value> Interpreter::eval_all(const std::vector<ExprPtr>& parts) {
  std::vector<Value> values;
  values.reserve(parts.size());
  for (const ExprPtr& part : parts) values.push_back(eval(*part));
  return values;
}

Value Interpreter::eval_dict(const Expr& expr) {
  std::vector<std::pair<Value, Value>> items;
  for (size_t i = 0; i < expr.parts.size(); i += 2) {
    Value key = eval(*expr.parts[i]);
    items.emplace_back(std::move(key), eval(*expr.parts[i + 1]));
  }
  line_ = expr.line;
  return Value::dict(std::move(items));
}

Value Interpreter::eval_condition(const Expr& expr) {
  if (is_true(*expr.parts[0])) return eval(*expr.parts[1]);
  if (expr.parts[2]) return eval(*expr.parts[2]);
  return undefined_hint(fmt::format(
      "the inline if-expression on line {} evaluated to false and no else section was defined.", expr.line));
}

// a < b < c asks for each once, and stops at the first that does not hold.
bool Interpreter::eval_comparison(const Expr& expr) {
  Value stores[2];
  const Value* left = &look(*expr.parts[0], stores[0]);
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    const Value* right = &look(*expr.parts[i + 1], stores[(i + 1) % 2]);
    line_ = expr.line;
    if (!compare(expr.ops[i], *left, *right)) return false;
    left = right;
  }
  return true;
}

Value Interpreter::eval_slice(const Expr& expr) {
  Value owner = eval(*expr.parts[0]), bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    const ExprPtr& bound = expr.parts[1]->parts[i];
    bounds[i] = bound ? eval(*bound) : Value(nullptr);
  }
  line_ = expr.line;
  return slice_of(owner, bounds[0], bounds[1], bounds[2]);
}

Arguments Interpreter::eval_arguments(const CallArguments* given) {
  Arguments arguments;
  if (!given) return arguments;
  arguments.positional.reserve(given->positional.size());
  for (const ExprPtr& part : given->positional) arguments.positional.push_back(eval(*part));
  if (given->star) {
    const Value more = items_of(eval(*given->star));
    for (const Value& item : more.items().items()) arguments.positional.push_back(item);
  }
  for (const auto& [name, part] : given->named) arguments.named.emplace_back(name, eval(*part));
  if (given->star_star) {
    const Value more = eval(*given->star_star);
    if (!more.is(Kind::dict))
      raise("TypeError", "argument after ** must be a mapping, not {}", type_name(more));
    for (const auto& [name, value] : more.dict().items) {
      if (!name.is_string()) raise("TypeError", "keywords must be strings");
      for (const auto& [have, ignored] : arguments.named) {
        if (have.text() == name.text())
          raise("TypeError", "got multiple values for keyword argument {}", repr(name));
      }
      spend(1 + arguments.named.size() / 8);
      arguments.named.emplace_back(name, value);
    }
  }
  return arguments;
}

Value Interpreter::eval_filter(const Expr& expr) {
  Value store;
  const Value& input = expr.parts[0] ? look(*expr.parts[0], store) : *filter_input_;
  Arguments arguments = eval_arguments(expr.arguments.get());
  line_ = expr.line;
  if (!expr.known_filter) raise("TemplateRuntimeError", "No filter named {} found.", repr(expr.value));
  return call_filter(*this, *expr.known_filter, input, arguments);
}

bool Interpreter::eval_test(const Expr& expr) {
  Value store;
  const Value& input = look(*expr.parts[0], store);
  Arguments arguments = eval_arguments(expr.arguments.get());
  line_ = expr.line;
  if (!expr.known_test) raise("TemplateRuntimeError", "No test named {} found.", repr(expr.value));
  return call_test(*this, *expr.known_test, input, arguments);
}

std::optional<Value> Interpreter::eval_call(const Expr& expr, bool is_printed, const Value* caller) {
  static const Value caller_name = [] {
    Meter* const meter = std::exchange(Meter::current, nullptr);
    Value name("caller");
    Meter::current = meter;
    return name;
  }();
  const auto arguments_of = [&] {
    Arguments arguments = eval_arguments(expr.arguments.get());
    if (caller) arguments.named.emplace_back(caller_name, *caller);
    line_ = expr.line;
    return arguments;
  };
  const Expr& callee = *expr.parts[0];
  Value store;
  if (callee.kind == Expr::attribute) {
    Value owner_store;
    const Value owner = look(*callee.parts[0], owner_store);
    const Method* method = owner.is_string()      ? callee.of_string
                           : owner.is(Kind::dict) ? callee.of_dict
                                                  : nullptr;
    if (method && !method->is_refused) {
      Arguments arguments = arguments_of();
      return call_method(*this, owner, *method, arguments);
    }
    line_ = callee.line;
    store = attribute_of(owner, callee.value);
  } else {
    store = eval(callee);
  }
  Arguments arguments = arguments_of();
  if (is_printed && store.is(Kind::object)) {
    if (const auto* writer = dynamic_cast<const Writer*>(store.object())) {
      writer->write(*this, arguments);
      return std::nullopt;
    }
  }
  return call(store, arguments);
}

Value Interpreter::call(const Value& callee, Arguments& arguments) {
  if (callee.is_undefined()) fail_undefined(callee);
  if (!callee.is(Kind::object)) raise("TypeError", "'{}' object is not callable", type_name(callee));
  return thing(callee).call(*this, arguments);
}

Value Writer::call(Interpreter& interpreter, Arguments& arguments) const {
  return interpreter.captured([&] { write(interpreter, arguments); });
}

// --- macros ---

std::string Macro::shown() const {
  return fmt::format("<Macro {}>", repr(Value(stmt.signature->name)));
}
std::optional<Value> Macro::attribute(std::string_view name) const {
  const Signature& signature = *stmt.signature;
  if (name == "name") return Value(signature.name);
  if (name == "arguments") return make_list(Shape::tuple, signature.names);
  if (name == "catch_kwargs") return signature.uses_kwargs;
  if (name == "catch_varargs") return signature.uses_varargs;
  if (name == "caller") return signature.uses_caller;
  return std::nullopt;
}
void Macro::write(Interpreter& interpreter, Arguments& arguments) const {
  interpreter.call_macro(*this, arguments);
}

Value Interpreter::make_macro(const Stmt& stmt) {
  keep_scopes();
  return make_thing<Macro>(stmt, scope_);
}

namespace {

// Takes the argument of that name out, if it is there.
std::optional<Value> take_named(Arguments& arguments, std::string_view name) {
  for (auto it = arguments.named.begin(); it != arguments.named.end(); ++it) {
    if (it->first.text() != name) continue;
    Value value = std::move(it->second);
    arguments.named.erase(it);
    return value;
  }
  return std::nullopt;
}

}  // namespace

void Interpreter::call_macro(const Macro& macro, Arguments& arguments) {
  const Signature& signature = *macro.stmt.signature;
  const std::vector<Value>& given = arguments.positional;
  const size_t count = signature.parameters.size(), required = count - signature.defaults.size();
  const Deeper deeper(*this);
  const Enter scope(*this, macro.scope);
  for (size_t i = 0; i < count; ++i) {
    std::optional<Value> value;
    if (i < given.size()) {
      value = given[i];
    } else {
      value = take_named(arguments, signature.names[i].text());
    }
    if (!value && i >= required) value = eval(*signature.defaults[i - required]);
    if (!value)
      value = undefined_hint(fmt::format("parameter {} was not provided", repr(signature.names[i])));
    set(signature.parameters[i], *std::move(value));
  }
  const auto set_if_named = [&](std::string_view name, Value value) {
    const auto at = std::find(program_.names.begin(), program_.names.end(), name);
    if (at != program_.names.end()) set(NameId(at - program_.names.begin()), std::move(value));
  };
  if (signature.uses_caller) {
    const auto caller = take_named(arguments, "caller");
    set_if_named("caller", caller ? *caller : undefined_hint("No caller defined"));
  }
  if (signature.uses_kwargs) {
    set_if_named("kwargs", Value::dict(std::move(arguments.named)));
  } else if (!arguments.named.empty()) {
    const Value& name = arguments.named[0].first;
    if (name.text() == "caller")
      raise(
          "TypeError",
          "macro {} was invoked with two values for the special caller argument. This is most likely a bug.",
          quoted(signature.name));
    raise("TypeError", "macro {} takes no keyword argument {}", quoted(signature.name), repr(name));
  }
  if (signature.uses_varargs) {
    set_if_named("varargs", make_list(Shape::tuple,
                                      {given.begin() + int64_t(std::min(count, given.size())), given.end()}));
  } else if (given.size() > count) {
    raise("TypeError", "macro {} takes not more than {} argument(s)", quoted(signature.name), count);
  }
  exec(macro.stmt.body);
}

// --- statements ---

Flow Interpreter::exec(const Body& body) {
  const Deeper deeper(*this);
  for (const Stmt& stmt : body) {
    const Flow flow = exec(stmt);
    if (flow != Flow::next) return flow;
  }
  return Flow::next;
}

Flow Interpreter::exec(const Stmt& stmt) {
  meter_.step(1);
  line_ = stmt.line;
  switch (stmt.kind) {
    case Stmt::text:
      write(stmt.data);
      break;
    case Stmt::print:
      print(*stmt.expr);
      break;
    case Stmt::set:
      assign(*stmt.target, eval(*stmt.expr));
      break;
    case Stmt::set_block:
      assign(*stmt.target, block_value(stmt.body, stmt.expr.get()));
      break;
    case Stmt::for_:
      return exec_loop(stmt, items_of(eval(*stmt.expr)), 0);
    case Stmt::if_:
      return exec_if(stmt);
    case Stmt::macro:
      set(stmt.id, make_macro(stmt));
      break;
    case Stmt::call: {
      const Value caller = make_macro(stmt);
      if (const auto value = eval_call(*stmt.expr, true, &caller)) print(*value);
      break;
    }
    case Stmt::filter: {
      const Value value = block_value(stmt.body, stmt.expr.get());
      if (!value.is_string())
        raise("TypeError", "sequence item 0: expected str instance, {} found", type_name(value));
      print(value);
      break;
    }
    case Stmt::with:
      return exec_with(stmt);
    case Stmt::generation:
      exec_generation(stmt);
      break;
    case Stmt::break_:
      return Flow::break_;
    case Stmt::continue_:
      return Flow::continue_;
  }
  return Flow::next;
}

void Interpreter::write(std::string_view text) {
  meter_.step(text.size() / 64);
  meter_.write(text.size());
  out_->append(text);
}
void Interpreter::print(const Value& value) {
  if (value.is_string()) return write(value.text());
  if (!value.is_undefined()) write(str(value));
}
void Interpreter::print(const Expr& expr) {
  if (expr.kind == Expr::call) {
    const Deeper deeper(*this);
    meter_.step(1);
    if (const auto value = eval_call(expr, true)) print(*value);
    return;
  }
  Value store;
  print(look(expr, store));
}

Value Interpreter::block_value(const Body& body, const Expr* filters) {
  const Enter scope(*this);
  Value value = captured([&] { exec(body); });
  if (!filters) return value;
  const Value* const before = std::exchange(filter_input_, &value);
  Value result = eval(*filters);
  filter_input_ = before;
  return result;
}

Flow Interpreter::exec_if(const Stmt& stmt) {
  for (const auto& [condition, body] : stmt.branches) {
    if (is_true(*condition)) return exec(body);
  }
  return exec(stmt.other);
}

Flow Interpreter::exec_with(const Stmt& stmt) {
  const std::vector<Value> values = eval_all(stmt.values);
  const Enter scope(*this);
  for (size_t i = 0; i < values.size(); ++i) assign(*stmt.targets[i], values[i]);
  return exec(stmt.body);
}

void Interpreter::exec_generation(const Stmt& stmt) {
  const Enter scope(*this);
  const bool is_outer = !std::exchange(in_generation_, true);
  const size_t begin = out_->size();
  exec(stmt.body);
  if (!is_outer) return;
  in_generation_ = false;
  if (out_ == &result_.text) {
    result_.generated.push_back({begin, out_->size()});
  } else {
    result_.has_hidden_generation = true;
  }
}

bool Interpreter::admits(const Stmt& loop, const Value& item, Scope* scope) {
  const Enter enter(*this, scope);
  assign(*loop.target, item);
  return is_true(*loop.condition);
}

void Interpreter::run_loop(const Stmt& stmt, const Value& items, int64_t depth, Scope* scope) {
  const Deeper deeper(*this);
  Scope* const before = std::exchange(scope_, scope);
  try {
    exec_loop(stmt, items, depth);
  } catch (...) {
    scope_ = before;
    throw;
  }
  scope_ = before;
}

Flow Interpreter::exec_loop(const Stmt& stmt, const Value& items, int64_t depth) {
  static constexpr std::string_view kLoop = "loop";
  Value loop_value;
  const Loop* loop = nullptr;
  NameId loop_id = 0;
  if (stmt.uses_loop) {
    if (stmt.is_recursive) keep_scopes();
    loop_value = make_thing<Loop>(*this, stmt, items, depth, scope_);
    loop = static_cast<const Loop*>(loop_value.object());
    loop_id = NameId(std::find(program_.names.begin(), program_.names.end(), kLoop) - program_.names.begin());
  }
  const List& list = items.items();
  const std::vector<Value>& all = stmt.condition ? list.items() : list.unseen();
  size_t at = 0, n_turns = 0;
  const auto next = [&]() -> const Value* {
    if (list.watch && !stmt.condition) {
      if (n_turns > 0 && n_turns < all.size()) note_beginning(stmt, list.offset + n_turns);
      list.item(n_turns++);
    }
    if (loop) return loop->next();
    while (at < all.size()) {
      const Value& item = all[at++];
      if (!stmt.condition || admits(stmt, item, scope_)) return &item;
    }
    return nullptr;
  };
  bool is_else = true;  // in Jinja also where no turn came to its end
  while (const Value* item = next()) {
    meter_.step(1);
    const Enter scope(*this);
    if (loop && loop_id < program_.names.size()) set(loop_id, loop_value);
    assign(*stmt.target, *item);
    const Flow flow = exec(stmt.body);
    if (flow == Flow::break_) break;
    if (flow == Flow::next) is_else = false;
  }
  if (loop) loop->end();
  if (!is_else) return Flow::next;
  const Enter scope(*this);
  return exec(stmt.other);
}

}  // namespace lora::jinja
