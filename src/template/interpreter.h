// One rendering of a template.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "template/meter.h"
#include "template/objects.h"
#include "template/template.h"
#include "template/tree.h"

namespace lora::jinja {

// The names that a loop, macro or block sets. Those of the template itself have their places in
// Interpreter::globals_.
struct Scope {
  Scope* parent = nullptr;  // null: the template itself
  std::vector<std::pair<NameId, Value>> names;
  bool is_kept = false;  // a macro may come back to it, so that it lives as long as the rendering
};

enum class Flow : uint8_t { next, break_, continue_ };

// What writes instead of giving a value: macros, and loops that call themselves.
struct Writer : Thing {
  using Thing::Thing;
  virtual void write(Interpreter& interpreter, Arguments& arguments) const = 0;
  Value call(Interpreter& interpreter, Arguments& arguments) const final;
};

// A macro, or the block of a call.
struct Macro final : Writer {
  Macro(const Stmt& of, Scope* where) : Writer(sizeof(Macro)), stmt(of), scope(where) {}
  std::string_view type() const override { return "Macro"; }
  std::string shown() const override;
  std::optional<Value> attribute(std::string_view name) const override;
  void write(Interpreter& interpreter, Arguments& arguments) const override;
  const Stmt& stmt;
  Scope* const scope;
};

class Interpreter {
 public:
  Interpreter(const Program& program, std::span<const Variable> variables, const Date& now,
              Beginnings* beginnings = nullptr);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  Rendered run();

  // For what is called from a template.
  Value call(const Value& callee, Arguments& arguments);
  void call_macro(const Macro& macro, Arguments& arguments);
  void run_loop(const Stmt& stmt, const Value& items, int64_t depth, Scope* scope);
  // Whether the loop's condition lets the item in.
  bool admits(const Stmt& loop, const Value& item, Scope* scope);
  template <class Do>
  std::string captured(Do&& act) {
    std::string text;
    std::string* const before = std::exchange(out_, &text);
    try {
      act();
    } catch (...) {
      out_ = before;
      throw;
    }
    out_ = before;
    return text;
  }
  const Date& now() const { return now_; }

 private:
  class Enter;
  class Deeper;

  Value eval(const Expr& expr);
  // The value itself where there is one already, else `store`, which takes it.
  const Value& look(const Expr& expr, Value& store);
  bool is_true(const Expr& expr);
  Value eval_condition(const Expr& expr);
  bool eval_comparison(const Expr& expr);
  Value eval_slice(const Expr& expr);
  Value eval_filter(const Expr& expr);
  bool eval_test(const Expr& expr);
  Value eval_dict(const Expr& expr);
  std::vector<Value> eval_all(const std::vector<ExprPtr>& parts);
  // Of a macro that is to be printed the output goes where it belongs, and there is no value.
  std::optional<Value> eval_call(const Expr& expr, bool is_printed, const Value* caller = nullptr);
  Arguments eval_arguments(const CallArguments* arguments);

  Flow exec(const Body& body);
  Flow exec(const Stmt& stmt);
  void print(const Expr& expr);
  void print(const Value& value);
  void write(std::string_view text);
  Flow exec_if(const Stmt& stmt);
  Flow exec_loop(const Stmt& stmt, const Value& items, int64_t depth);
  Flow exec_with(const Stmt& stmt);
  void exec_generation(const Stmt& stmt);
  // What the body puts out, through the filters of `filters` if there are any.
  Value block_value(const Body& body, const Expr* filters);
  Value make_macro(const Stmt& stmt);

  // At a loop, before it takes item n of the list whose beginnings are asked for.
  void note_beginning(const Stmt& loop, size_t n);
  std::optional<std::string> tail_of(std::span<const Stmt> rest, size_t n, bool with_prompt);

  const Value* find(NameId id) const;
  void set(NameId id, Value value);
  void assign(const Expr& target, const Value& value);
  Scope* take_scope();
  void keep_scopes();

  Meter meter_;  // outlives all values
  Meter* const outer_meter_;
  const Program& program_;
  const Date now_;
  Beginnings* const beginnings_;
  Watch watch_;
  Value watched_;  // the list, undefined where there is none
  static constexpr NameId kNoName = ~NameId{0};
  NameId prompt_id_ = kNoName;
  bool gives_up_ = false;                       // what stands behind the loop takes too much
  mutable bool asks_for_prompt_ = false;        // what was put out may depend on it
  const Stmt* plain_behind_ = nullptr;          // the loop behind which nothing but plain statements are
  std::vector<std::optional<Value>> globals_;   // by NameId
  std::vector<std::unique_ptr<Scope>> scopes_;  // all there are
  std::vector<Scope*> free_scopes_;
  Scope* scope_ = nullptr;
  Rendered result_;
  std::string* out_ = &result_.text;
  const Value* filter_input_ = nullptr;  // what the filters of a block are applied to
  bool in_generation_ = false;
  int depth_ = 0;
  int line_ = 1;
};

}  // namespace lora::jinja
