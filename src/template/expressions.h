// Expressions of a template, to their trees.
#pragma once

#include <optional>

#include "template/token_reader.h"

namespace lora::jinja {

class Expressions : public TokenReader {
 protected:
  using TokenReader::TokenReader;

  ExprPtr expression(bool with_condition = true);

  // The loosest first.
  ExprPtr condition();
  ExprPtr disjunction();
  ExprPtr conjunction();
  ExprPtr negation();
  ExprPtr comparison();
  std::optional<Op> comparison_op();
  using Level = ExprPtr (Expressions::*)();
  ExprPtr left_to_right(std::initializer_list<std::pair<std::string_view, Op>> ops, Level next);
  ExprPtr sum();
  ExprPtr concatenation();
  ExprPtr product();
  ExprPtr power();
  ExprPtr unary();
  ExprPtr signed_primary();
  ExprPtr primary();
  ExprPtr name_or_word(const Token& token);
  bool is_tuple_end(Words words) const;
  // One expression, or several with commas between.
  ExprPtr tuple(bool with_condition, Words end_words, bool in_parentheses);
  ExprPtr list();
  ExprPtr dict();
  ExprPtr postfix(ExprPtr expr);
  ExprPtr attribute(ExprPtr owner);
  ExprPtr subscript(ExprPtr owner);
  ExprPtr slice_or_index();
  ExprPtr call(ExprPtr callee);
  void arguments(Expr& expr);
  ExprPtr filtered(ExprPtr expr);
  std::string dotted_name();
  // Where it is not sure to be reached, it is an error only when it is.
  void note_unknown(const char* what, const std::string& name, int line);
  ExprPtr filter(ExprPtr of);
  ExprPtr test(ExprPtr of);
  bool begins_argument() const;
};

}  // namespace lora::jinja
