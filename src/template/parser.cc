#include "template/parser.h"

#include <algorithm>

#include "base/printable.h"
#include "template/expressions.h"

namespace lora::jinja {
namespace {

// Statements, and what they assign to.
class Parser : Expressions {
 public:
  explicit Parser(std::string_view source) : Expressions(source) {}

  Program run() {
    program_.body = statements({});
    return std::move(program_);
  }

 private:
  ExprPtr name_target();
  ExprPtr one_target(bool with_attributes);
  ExprPtr target(bool with_attributes, Words end_words);

  // Up to one of the end tags, whose name is left to be read; up to the end of the template where there are
  // none.
  Body statements(Words end_words);
  // The rest of a tag, then what it encloses, and the last end tag's name.
  Body enclosed(Words end_words);
  void statement(Body& body, Words end_words);
  void print(Body& body);
  void set(Stmt& stmt);
  void refuse_loop(const Expr& target) const;
  void for_loop(Stmt& stmt);
  void if_block(Stmt& stmt);
  void macro(Stmt& stmt);
  void call_block(Stmt& stmt);
  // The parameters, of a call block what is called, and the body.
  void callable(Stmt& stmt, std::string name, std::string_view end_word);
  void filter_block(Stmt& stmt);
  void with(Stmt& stmt);
  void generation(Stmt& stmt);
  void jump(Stmt& stmt);
};

ExprPtr Parser::name_target() {
  const Token token = now();
  const std::string name = expect_name();
  if (is_one_of(name, {"true", "false", "none", "True", "False", "None"}))
    fail("can't assign to '" + name + "'", token.line);
  ExprPtr target = node(Expr::name, token.line);
  target->id = intern(name);
  target->value = Value(name);
  return target;
}

ExprPtr Parser::one_target(bool with_attributes) {
  const Within within = deeper();
  if (skip_symbol("(")) {
    ExprPtr inner = target(with_attributes, {});
    expect_symbol(")");
    return inner;
  }
  ExprPtr result = name_target();
  if (with_attributes && skip_symbol(".")) {
    note_use(result->value.text());
    result->kind = Expr::attribute_target;
    result->value = Value(expect_name());
  }
  return result;
}

ExprPtr Parser::target(bool with_attributes, Words end_words) {
  ExprPtr first = one_target(with_attributes);
  if (!is_symbol(",")) return first;
  const int line = first->line;
  ExprPtr result = node(Expr::tuple, line, std::move(first));
  while (skip_symbol(",")) {
    if (is_tuple_end(end_words) || is_symbol("=")) break;
    add(*result, one_target(with_attributes));
  }
  return result;
}

Body Parser::statements(Words end_words) {
  Body body;
  while (now().kind != Token::end) {
    const Token token = take();
    if (token.kind == Token::data) {
      Stmt text(Stmt::text, token.line);
      text.data = token.text;
      body.push_back(std::move(text));
    } else if (token.kind == Token::print_begin) {
      Stmt print(Stmt::print, token.line);
      print.expr = tuple(true, {}, false);
      expect(Token::print_end);
      body.push_back(std::move(print));
    } else {
      if (now().kind == Token::name && is_one_of(now().text, end_words)) return body;
      statement(body, end_words);
      expect(Token::tag_end);
    }
    if (!unknown_.empty()) throw unknown_[0];
  }
  if (end_words.size() > 0)
    fail("Unexpected end of template. Jinja was looking for the tag '" +
         std::string(end_words.begin()[end_words.size() - 1]) + "'.");
  return body;
}

Body Parser::enclosed(Words end_words) {
  expect(Token::tag_end);
  Body body = statements(end_words);
  if (end_words.size() == 1) take();
  return body;
}

void Parser::statement(Body& body, Words end_words) {
  static const std::pair<std::string_view, void (Parser::*)(Stmt&)> kTags[] = {
      {"set", &Parser::set},      {"for", &Parser::for_loop},          {"if", &Parser::if_block},
      {"macro", &Parser::macro},  {"call", &Parser::call_block},       {"filter", &Parser::filter_block},
      {"with", &Parser::with},    {"generation", &Parser::generation}, {"break", &Parser::jump},
      {"continue", &Parser::jump}};
  if (now().kind != Token::name) fail("tag name expected");
  const Token tag = now();
  if (tag.text == "print") return print(body);
  for (const auto& [name, read] : kTags) {
    if (name != tag.text) continue;
    Stmt stmt(Stmt::text, tag.line);
    (this->*read)(stmt);
    return body.push_back(std::move(stmt));
  }
  if (is_one_of(tag.text, {"include", "import", "from", "extends", "block", "autoescape"}))
    fail("not supported: the tag '" + tag.text + "'");
  std::string why = "Encountered unknown tag '" + printable(tag.text) + "'.";
  if (end_words.size() > 0)
    why += " Jinja was looking for the tag '" + std::string(end_words.begin()[end_words.size() - 1]) + "'.";
  fail(why);
}

void Parser::print(Body& body) {
  const int line = take().line;
  for (bool is_first = true; now().kind != Token::tag_end; is_first = false) {
    if (!is_first) expect_symbol(",");
    Stmt stmt(Stmt::print, line);
    stmt.expr = expression();
    body.push_back(std::move(stmt));
  }
}

void Parser::set(Stmt& stmt) {
  take();
  stmt.kind = Stmt::set;
  stmt.target = target(true, {});
  if (skip_symbol("=")) {
    stmt.expr = tuple(true, {}, false);
    return;
  }
  stmt.kind = Stmt::set_block;
  while (skip_symbol("|")) stmt.expr = filter(std::move(stmt.expr));
  const Within within(*this, {});
  stmt.body = enclosed({"endset"});
}

void Parser::refuse_loop(const Expr& target) const {
  if (target.kind == Expr::name && target.value.text() == "loop")
    fail("Can't assign to special loop variable in for-loop target", target.line);
  for (const ExprPtr& part : target.parts) refuse_loop(*part);
}

void Parser::for_loop(Stmt& stmt) {
  take();
  stmt.kind = Stmt::for_;
  stmt.target = target(false, {"in"});
  refuse_loop(*stmt.target);
  if (!skip_word("in")) fail("expected token 'in', got '" + shown(now()) + "'");
  stmt.expr = tuple(false, {"recursive"}, false);
  {
    const Within within = block();
    if (skip_word("if")) stmt.condition = expression();
  }
  stmt.is_recursive = skip_word("recursive");
  {
    const Within within(*this, {true, false});
    loops_.push_back(false);
    stmt.body = enclosed({"endfor", "else"});
    stmt.uses_loop = loops_.back() || stmt.is_recursive;
    loops_.pop_back();
  }
  if (!skip_word("else")) {
    take();
    return;
  }
  const Within within = block();
  stmt.other = enclosed({"endfor"});
}

void Parser::if_block(Stmt& stmt) {
  stmt.kind = Stmt::if_;
  const Within within = optional();
  do {
    take();
    ExprPtr test = tuple(false, {}, false);
    Body body = enclosed({"elif", "else", "endif"});
    stmt.branches.emplace_back(std::move(test), std::move(body));
  } while (is_word("elif"));
  if (take().text == "else") stmt.other = enclosed({"endif"});
}

void Parser::macro(Stmt& stmt) {
  take();
  stmt.kind = Stmt::macro;
  const ExprPtr name = name_target();
  stmt.id = name->id;
  if (!is_symbol("(")) expect_symbol("(");
  callable(stmt, std::string(name->value.text()), "endmacro");
}

void Parser::call_block(Stmt& stmt) {
  take();
  stmt.kind = Stmt::call;
  callable(stmt, "caller", "endcall");
}

void Parser::callable(Stmt& stmt, std::string name, std::string_view end_word) {
  stmt.signature = std::make_unique<Signature>();
  Signature& signature = *stmt.signature;
  signature.name = std::move(name);
  const Within within(*this, {});
  if (skip_symbol("(")) {
    for (bool is_first = true; !is_symbol(")"); is_first = false) {
      if (!is_first) expect_symbol(",");
      const ExprPtr parameter = name_target();
      if (skip_symbol("=")) {
        signature.defaults.push_back(expression());
      } else if (!signature.defaults.empty()) {
        fail("non-default argument follows default argument");
      }
      if (std::count(signature.parameters.begin(), signature.parameters.end(), parameter->id) > 0)
        fail("duplicate argument '" + std::string(parameter->value.text()) + "'");
      signature.parameters.push_back(parameter->id);
      signature.names.push_back(parameter->value);
    }
    expect_symbol(")");
  }
  if (stmt.kind == Stmt::call) {
    stmt.expr = expression();
    if (stmt.expr->kind != Expr::call) fail("expected call", stmt.line);
  }
  signatures_.push_back(&signature);
  stmt.body = enclosed({end_word});
  signatures_.pop_back();
  for (size_t i = 0; i < signature.names.size(); ++i) {
    const std::string_view parameter = signature.names[i].text();
    if (parameter == "varargs") signature.uses_varargs = false;
    if (parameter == "kwargs") signature.uses_kwargs = false;
    if (parameter != "caller" || !signature.uses_caller) continue;
    if (i + signature.defaults.size() < signature.names.size())
      fail("the argument 'caller' must be omitted or have a default", stmt.line);
    signature.uses_caller = false;
  }
}

void Parser::filter_block(Stmt& stmt) {
  take();
  stmt.kind = Stmt::filter;
  stmt.expr = filter(nullptr);
  while (skip_symbol("|")) stmt.expr = filter(std::move(stmt.expr));
  const Within within(*this, {});
  stmt.body = enclosed({"endfilter"});
}

void Parser::with(Stmt& stmt) {
  take();
  stmt.kind = Stmt::with;
  while (now().kind != Token::tag_end) {
    if (!stmt.targets.empty()) expect_symbol(",");
    stmt.targets.push_back(target(false, {}));
    expect_symbol("=");
    stmt.values.push_back(expression());
  }
  const Within within = block();
  stmt.body = enclosed({"endwith"});
}

void Parser::generation(Stmt& stmt) {
  take();
  stmt.kind = Stmt::generation;
  const Within within(*this, {});
  stmt.body = enclosed({"endgeneration"});
}

void Parser::jump(Stmt& stmt) {
  if (!context_.in_loop) fail("'" + now().text + "' outside loop");
  stmt.kind = take().text == "break" ? Stmt::break_ : Stmt::continue_;
}

}  // namespace

Program parse(std::string_view source) {
  return Parser(source).run();
}

}  // namespace lora::jinja
