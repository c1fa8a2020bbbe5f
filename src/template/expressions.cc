#include "template/expressions.h"

#include <charconv>

#include "base/printable.h"
#include "template/filters.h"
#include "template/methods.h"
#include "template/tests.h"

namespace lora::jinja {

ExprPtr Expressions::expression(bool with_condition) {
  return with_condition ? condition() : disjunction();
}

ExprPtr Expressions::condition() {
  const Within within = deeper();
  const int line = now().line;
  const size_t unknown = unknown_.size();
  ExprPtr then = disjunction();
  if (!is_word("if")) return then;
  while (skip_word("if")) {
    ExprPtr test = disjunction();
    ExprPtr otherwise = skip_word("else") ? condition() : nullptr;
    then = node(Expr::condition, line, std::move(test), std::move(then), std::move(otherwise));
  }
  unknown_.resize(unknown, Raised("", ""));
  return then;
}

ExprPtr Expressions::disjunction() {
  ExprPtr left = conjunction();
  while (is_word("or")) {
    const int line = take().line;
    left = node(Expr::or_, line, std::move(left), conjunction());
  }
  return left;
}

ExprPtr Expressions::conjunction() {
  ExprPtr left = negation();
  while (is_word("and")) {
    const int line = take().line;
    left = node(Expr::and_, line, std::move(left), negation());
  }
  return left;
}

ExprPtr Expressions::negation() {
  if (!is_word("not")) return comparison();
  const Within within = deeper();
  const int line = take().line;
  return node(Expr::not_, line, negation());
}

ExprPtr Expressions::comparison() {
  const int line = now().line;
  ExprPtr first = sum();
  ExprPtr compare;
  while (const auto op = comparison_op()) {
    if (!compare) compare = node(Expr::compare, line, std::move(first));
    compare->ops.push_back(*op);
    add(*compare, sum());
  }
  return compare ? std::move(compare) : std::move(first);
}

std::optional<Op> Expressions::comparison_op() {
  static const std::pair<std::string_view, Op> kOps[] = {{"==", Op::eq}, {"!=", Op::ne}, {"<", Op::lt},
                                                         {"<=", Op::le}, {">", Op::gt},  {">=", Op::ge}};
  for (const auto& [symbol, op] : kOps) {
    if (skip_symbol(symbol)) return op;
  }
  if (skip_word("in")) return Op::in;
  if (is_word("not") && ahead().kind == Token::name && ahead().text == "in") {
    at_ += 2;
    return Op::not_in;
  }
  return std::nullopt;
}

ExprPtr Expressions::left_to_right(std::initializer_list<std::pair<std::string_view, Op>> ops, Level next) {
  ExprPtr left = (this->*next)();
  for (bool found = true; found;) {
    found = false;
    for (const auto& [symbol, op] : ops) {
      if (!is_symbol(symbol)) continue;
      const int line = take().line;
      left = node(Expr::arithmetic, line, std::move(left), (this->*next)());
      left->ops.push_back(op);
      found = true;
      break;
    }
  }
  return left;
}

ExprPtr Expressions::sum() {
  return left_to_right({{"+", Op::add}, {"-", Op::subtract}}, &Expressions::concatenation);
}

ExprPtr Expressions::concatenation() {
  ExprPtr first = product();
  if (!is_symbol("~")) return first;
  ExprPtr concat = node(Expr::concat, now().line, std::move(first));
  while (skip_symbol("~")) add(*concat, product());
  return concat;
}

ExprPtr Expressions::product() {
  return left_to_right({{"*", Op::multiply}, {"/", Op::divide}, {"//", Op::floor_divide}, {"%", Op::modulo}},
                       &Expressions::power);
}

ExprPtr Expressions::power() {
  return left_to_right({{"**", Op::power}}, &Expressions::unary);
}

ExprPtr Expressions::unary() {
  return filtered(signed_primary());
}

ExprPtr Expressions::signed_primary() {
  if (!is_symbol("-") && !is_symbol("+")) return postfix(primary());
  const Within within = deeper();
  const Token sign = take();
  return postfix(node(sign.text == "-" ? Expr::negate : Expr::plus, sign.line, signed_primary()));
}

ExprPtr Expressions::primary() {
  const Token token = now();
  switch (token.kind) {
    case Token::name:
      take();
      return name_or_word(token);
    case Token::string: {
      std::string text;
      while (now().kind == Token::string) text += take().text;
      return constant(std::move(text), token.line);
    }
    case Token::integer: {
      take();
      int64_t value = 0;
      const char* end = token.text.data() + token.text.size();
      if (std::from_chars(token.text.data(), end, value).ec != std::errc())
        fail("the integer " + token.text.substr(0, 30) + " has more than 64 bits", token.line);
      return constant(value, token.line);
    }
    case Token::real: {
      take();
      double value = 0;
      const char* end = token.text.data() + token.text.size();
      if (std::from_chars(token.text.data(), end, value).ec != std::errc())
        fail("the number " + token.text.substr(0, 30) + " is out of range", token.line);
      return constant(value, token.line);
    }
    default:
      break;
  }
  if (skip_symbol("(")) {
    ExprPtr inner = tuple(true, {}, true);
    expect_symbol(")");
    return inner;
  }
  if (is_symbol("[")) return list();
  if (is_symbol("{")) return dict();
  fail("unexpected '" + shown(token) + "'", token.line);
}

ExprPtr Expressions::name_or_word(const Token& token) {
  if (token.text == "true" || token.text == "True") return constant(true, token.line);
  if (token.text == "false" || token.text == "False") return constant(false, token.line);
  if (token.text == "none" || token.text == "None") return constant(nullptr, token.line);
  note_use(token.text);
  ExprPtr name = node(Expr::name, token.line);
  name->id = intern(token.text);
  name->value = Value(token.text);
  return name;
}

bool Expressions::is_tuple_end(Words words) const {
  if (now().kind == Token::print_end || now().kind == Token::tag_end || is_symbol(")")) return true;
  return now().kind == Token::name && is_one_of(now().text, words);
}

ExprPtr Expressions::tuple(bool with_condition, Words end_words, bool in_parentheses) {
  const int line = now().line;
  std::vector<ExprPtr> parts;
  bool is_tuple = false;
  while (!is_tuple_end(end_words)) {
    parts.push_back(expression(with_condition));
    if (!is_symbol(",")) break;
    is_tuple = true;
    take();
  }
  if (!is_tuple && !parts.empty()) return std::move(parts[0]);
  if (!is_tuple && !in_parentheses) fail("Expected an expression, got '" + shown(now()) + "'");
  ExprPtr result = node(Expr::tuple, line);
  for (ExprPtr& part : parts) add(*result, std::move(part));
  return result;
}

ExprPtr Expressions::list() {
  ExprPtr result = node(Expr::list, take().line);
  while (!is_symbol("]")) {
    if (!result->parts.empty()) expect_symbol(",");
    if (is_symbol("]")) break;
    add(*result, expression());
  }
  expect_symbol("]");
  return result;
}

ExprPtr Expressions::dict() {
  ExprPtr result = node(Expr::dict, take().line);
  while (!is_symbol("}")) {
    if (!result->parts.empty()) expect_symbol(",");
    if (is_symbol("}")) break;
    add(*result, expression());
    expect_symbol(":");
    add(*result, expression());
  }
  expect_symbol("}");
  return result;
}

ExprPtr Expressions::postfix(ExprPtr expr) {
  while (true) {
    if (is_symbol(".")) {
      expr = attribute(std::move(expr));
    } else if (is_symbol("[")) {
      expr = subscript(std::move(expr));
    } else if (is_symbol("(")) {
      expr = call(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr Expressions::attribute(ExprPtr owner) {
  const int line = take().line;
  const Token token = take();
  if (token.kind == Token::integer) {
    int64_t number = 0;
    std::from_chars(token.text.data(), token.text.data() + token.text.size(), number);
    return node(Expr::item, line, std::move(owner), constant(number, line));
  }
  if (token.kind != Token::name) fail("expected name or number", token.line);
  ExprPtr result = node(Expr::attribute, line, std::move(owner));
  result->value = Value(token.text);
  result->of_string = find_method(string_methods(), token.text);
  result->of_list = find_method(list_methods(), token.text);
  result->of_dict = find_method(dict_methods(), token.text);
  return result;
}

ExprPtr Expressions::subscript(ExprPtr owner) {
  const int line = take().line;
  std::vector<ExprPtr> parts;
  while (!is_symbol("]")) {
    if (!parts.empty()) expect_symbol(",");
    parts.push_back(slice_or_index());
  }
  expect_symbol("]");
  if (parts.size() == 1) return node(Expr::item, line, std::move(owner), std::move(parts[0]));
  ExprPtr key = node(Expr::tuple, line);
  for (ExprPtr& part : parts) {
    if (part->kind == Expr::slice) fail("not supported: a slice among several indices", line);
    add(*key, std::move(part));
  }
  return node(Expr::item, line, std::move(owner), std::move(key));
}

ExprPtr Expressions::slice_or_index() {
  const int line = now().line;
  ExprPtr start = is_symbol(":") ? nullptr : expression();
  if (!is_symbol(":")) return start;
  take();
  const auto part = [&] {
    return is_symbol(":") || is_symbol("]") || is_symbol(",") ? nullptr : expression();
  };
  ExprPtr stop = part();
  ExprPtr step = skip_symbol(":") ? part() : nullptr;
  return node(Expr::slice, line, std::move(start), std::move(stop), std::move(step));
}

ExprPtr Expressions::call(ExprPtr callee) {
  ExprPtr result = node(Expr::call, now().line, std::move(callee));
  arguments(*result);
  return result;
}

void Expressions::arguments(Expr& expr) {
  const int line = now().line;
  auto found = std::make_unique<CallArguments>();
  const auto one = [&] {
    ExprPtr value = expression();
    raise_to(expr, *value);
    return value;
  };
  const auto ensure = [&](bool holds) {
    if (!holds) fail("invalid syntax for function call expression", line);
  };
  expect_symbol("(");
  for (bool is_first = true; !is_symbol(")"); is_first = false) {
    if (!is_first) expect_symbol(",");
    if (is_symbol(")")) break;
    if (skip_symbol("*")) {
      ensure(!found->star && !found->star_star);
      found->star = one();
    } else if (skip_symbol("**")) {
      ensure(!found->star_star);
      found->star_star = one();
    } else if (now().kind == Token::name && ahead().kind == Token::symbol && ahead().text == "=") {
      ensure(!found->star_star);
      std::string name = take().text;
      take();
      for (const auto& [have, value] : found->named) {
        if (have.text() == name) fail("keyword argument repeated: " + name, line);
      }
      found->named.emplace_back(std::move(name), one());
    } else {
      ensure(!found->star && !found->star_star && found->named.empty());
      found->positional.push_back(one());
    }
  }
  expect_symbol(")");
  expr.arguments = std::move(found);
}

ExprPtr Expressions::filtered(ExprPtr expr) {
  while (true) {
    if (is_symbol("|")) {
      take();
      expr = filter(std::move(expr));
    } else if (is_word("is")) {
      expr = test(std::move(expr));
    } else if (is_symbol("(")) {
      expr = call(std::move(expr));
    } else {
      return expr;
    }
  }
}

std::string Expressions::dotted_name() {
  std::string name = expect_name();
  while (skip_symbol(".")) name.append(1, '.').append(expect_name());
  return name;
}

void Expressions::note_unknown(const char* what, const std::string& name, int line) {
  if (context_.is_optional) return;
  unknown_.emplace_back("TemplateSyntaxError", fmt::format("No {} named '{}'.", what, printable(name)));
  unknown_.back().line = line;
}

ExprPtr Expressions::filter(ExprPtr of) {
  const int line = now().line;
  const std::string name = dotted_name();
  ExprPtr result = node(Expr::filter, line, std::move(of));
  result->value = Value(name);
  result->known_filter = find_filter(name);
  if (!result->known_filter) note_unknown("filter", name, line);
  if (is_symbol("(")) arguments(*result);
  return result;
}

ExprPtr Expressions::test(ExprPtr of) {
  const int line = take().line;
  const bool is_negated = skip_word("not");
  const std::string name = dotted_name();
  ExprPtr result = node(Expr::test, line, std::move(of));
  result->value = Value(name);
  result->known_test = find_test(name);
  if (!result->known_test) note_unknown("test", name, line);
  if (is_symbol("(")) {
    arguments(*result);
  } else if (begins_argument()) {
    if (is_word("is")) fail("You cannot chain multiple tests with is");
    const Within within = deeper();
    auto found = std::make_unique<CallArguments>();
    found->positional.push_back(postfix(primary()));
    raise_to(*result, *found->positional[0]);
    result->arguments = std::move(found);
  }
  return is_negated ? node(Expr::not_, line, std::move(result)) : std::move(result);
}

bool Expressions::begins_argument() const {
  const Token& token = now();
  if (token.kind == Token::name) return !is_one_of(token.text, {"else", "or", "and"});
  return token.kind == Token::string || token.kind == Token::integer || token.kind == Token::real ||
         is_symbol("[") || is_symbol("{");
}

}  // namespace lora::jinja
