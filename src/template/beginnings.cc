// Renderings of a list's beginnings, told from the rendering of the whole.
//
// Up to where a loop takes item n of the list, a rendering with n items alone would have gone the same way,
// if nothing behind them was looked at (Watch). Then the loop would have ended, and what stands behind it in
// the template would have run: it is run, where it is plain enough to leave nothing behind.
#include <algorithm>

#include "template/interpreter.h"

namespace lora::jinja {
namespace {

bool is_plain(const Expr& expr);
bool is_plain(const ExprPtr& expr) {
  return !expr || is_plain(*expr);
}

// Whether it changes nothing, and takes no longer than it is long.
bool is_plain(const Expr& expr) {
  switch (expr.kind) {
    case Expr::constant:
    case Expr::name:
    case Expr::tuple:
    case Expr::list:
    case Expr::not_:
    case Expr::and_:
    case Expr::or_:
    case Expr::condition:
    case Expr::concat:
    case Expr::attribute:
    case Expr::item:
      break;
    case Expr::compare:  // "in" reads a generator, which is then read
      if (std::ranges::any_of(expr.ops, [](Op op) { return op == Op::in || op == Op::not_in; })) return false;
      break;
    case Expr::arithmetic:
      if (expr.ops[0] != Op::add) return false;
      break;
    case Expr::test:
      if (expr.arguments) return false;
      break;
    default:
      return false;
  }
  return std::ranges::all_of(expr.parts, [](const ExprPtr& part) { return is_plain(part); });
}

bool is_plain(std::span<const Stmt> body) {
  return std::ranges::all_of(body, [](const Stmt& stmt) {
    switch (stmt.kind) {
      case Stmt::text:
        return true;
      case Stmt::print:
        return is_plain(stmt.expr);
      case Stmt::set:
        return stmt.target->kind == Expr::name && is_plain(stmt.expr);
      case Stmt::if_:
        return is_plain(stmt.other) && std::ranges::all_of(stmt.branches, [](const auto& branch) {
                 return is_plain(branch.first) && is_plain(branch.second);
               });
      default:
        return false;
    }
  });
}

}  // namespace

std::optional<std::string> Interpreter::tail_of(std::span<const Stmt> rest, size_t n, bool with_prompt) {
  const auto globals = globals_;
  const size_t seen = watch_.n_seen;
  const int line = line_;
  const bool asked = asks_for_prompt_;
  if (with_prompt && prompt_id_ != kNoName) globals_[prompt_id_] = Value(with_prompt);
  std::optional<std::string> tail;
  try {
    tail = captured([&] {
      for (const Stmt& stmt : rest) exec(stmt);
    });
  } catch (const Raised&) {  // it will come again where that beginning is asked for
  }
  if (watch_.n_seen > n) tail.reset();
  globals_ = globals;
  watch_.n_seen = seen;
  line_ = line;
  asks_for_prompt_ = asked;
  return tail;
}

void Interpreter::note_beginning(const Stmt& loop, size_t n) {
  const std::span<const Stmt> body(program_.body);
  const bool is_top = &loop >= body.data() && &loop < body.data() + body.size() && !scope_;
  if (gives_up_ || !is_top || watch_.n_seen > n || !loop.other.empty()) return;
  const std::span<const Stmt> rest = body.subspan(size_t(&loop - body.data()) + 1);
  if (plain_behind_ != &loop && !is_plain(rest)) return;
  plain_behind_ = &loop;
  Beginning& beginning = beginnings_->found.at(n);
  beginning.shared = result_.text.size();
  beginning.n_generated = result_.generated.size();
  beginning.has_hidden_generation = result_.has_hidden_generation;
  const uint64_t steps = meter_.uncounted([&] {
    for (const bool with_prompt : {false, true}) {
      if (!with_prompt || !asks_for_prompt_) beginning.tail[with_prompt] = tail_of(rest, n, with_prompt);
    }
  });
  // All of them are kept, and each is made whether or not it is asked for.
  constexpr uint64_t kMostTailSteps = 10'000;
  constexpr size_t kMostTailBytes = 4096;
  const auto is_long = [](const auto& tail) { return tail && tail->size() > kMostTailBytes; };
  gives_up_ = steps > kMostTailSteps || std::ranges::any_of(beginning.tail, is_long);
  if (gives_up_) beginning = {};
}

}  // namespace lora::jinja
