// The variable `loop`.
#pragma once

#include "template/interpreter.h"

namespace lora::jinja {

// Goes through the items one ahead at most, so that a condition sees what the body did before.
class Loop final : public Writer {
 public:
  Loop(Interpreter& interpreter, const Stmt& stmt, const Value& items, int64_t level, Scope* scope);

  // The next item, or null at the end.
  const Value* next() const;
  void end() const { is_over_ = true; }

  std::string_view type() const override { return "LoopContext"; }
  std::string shown() const override;
  std::optional<Value> attribute(std::string_view name) const override;
  void write(Interpreter& interpreter, Arguments& arguments) const override;

 private:
  const Value* peek() const;
  int64_t count() const;
  bool changed(Value value) const;
  struct Cycle;
  struct Changed;

  Interpreter& interpreter_;
  const Stmt& stmt_;
  const Value items_;
  const int64_t level_;
  Scope* const scope_;  // around the loop
  mutable size_t at_ = 0;
  mutable int64_t index_ = -1, count_ = -1;
  mutable const Value *before_ = nullptr, *current_ = nullptr, *ahead_ = nullptr;
  mutable std::vector<const Value*> rest_;  // in reverse, once all are counted
  mutable bool is_counted_ = false, is_over_ = false;
  mutable std::optional<Value> last_changed_;
};

}  // namespace lora::jinja
