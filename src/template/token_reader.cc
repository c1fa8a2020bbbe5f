#include "template/token_reader.h"

#include <algorithm>

#include "base/printable.h"

namespace lora::jinja {

bool is_one_of(std::string_view text, Words words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

const Token& TokenReader::now() const {
  return tokens_[at_];
}

const Token& TokenReader::ahead() const {
  return tokens_[std::min(at_ + 1, tokens_.size() - 1)];
}

Token TokenReader::take() {
  return now().kind == Token::end ? now() : tokens_[at_++];
}

void TokenReader::fail(const std::string& why, int line) const {
  Raised error("TemplateSyntaxError", why);
  error.line = line > 0 ? line : now().line;
  throw error;
}

std::string TokenReader::shown(const Token& token) {
  switch (token.kind) {
    case Token::data:
      return "template data / text";
    case Token::print_begin:
      return "begin of print statement";
    case Token::print_end:
      return "end of print statement";
    case Token::tag_begin:
      return "begin of statement block";
    case Token::tag_end:
      return "end of statement block";
    case Token::end:
      return "end of template";
    default:
      return printable(token.text);
  }
}

bool TokenReader::is_symbol(std::string_view symbol) const {
  return now().kind == Token::symbol && now().text == symbol;
}

bool TokenReader::is_word(std::string_view word) const {
  return now().kind == Token::name && now().text == word;
}

bool TokenReader::skip_symbol(std::string_view symbol) {
  if (!is_symbol(symbol)) return false;
  take();
  return true;
}

bool TokenReader::skip_word(std::string_view word) {
  if (!is_word(word)) return false;
  take();
  return true;
}

void TokenReader::expect_symbol(std::string_view symbol) {
  if (!skip_symbol(symbol)) fail("expected token '" + std::string(symbol) + "', got '" + shown(now()) + "'");
}

void TokenReader::expect(Token::Kind kind) {
  if (now().kind != kind) fail("expected token '" + shown({kind, 0, ""}) + "', got '" + shown(now()) + "'");
  take();
}

std::string TokenReader::expect_name() {
  if (now().kind != Token::name) fail("expected token 'name', got '" + shown(now()) + "'");
  return take().text;
}

NameId TokenReader::intern(const std::string& name) {
  const auto [at, is_new] = ids_.try_emplace(name, NameId(program_.names.size()));
  if (is_new) program_.names.push_back(name);
  return at->second;
}

ExprPtr TokenReader::node(Expr::Kind kind, int line) {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = line;
  return expr;
}

void TokenReader::add(Expr& expr, ExprPtr part) {
  if (part) raise_to(expr, *part);
  expr.parts.push_back(std::move(part));
}

void TokenReader::raise_to(Expr& expr, const Expr& part) {
  expr.height = std::max(expr.height, part.height + 1);
  if (expr.height > kMostNesting) fail("an expression nests too deep", expr.line);
}

ExprPtr TokenReader::constant(Value value, int line) {
  ExprPtr expr = node(Expr::constant, line);
  expr->value = std::move(value);
  return expr;
}

void TokenReader::note_use(std::string_view name) {
  for (Signature* signature : signatures_) {
    signature->uses_varargs |= name == "varargs";
    signature->uses_kwargs |= name == "kwargs";
    signature->uses_caller |= name == "caller";
  }
  if (name == "loop") {
    for (size_t i = 0; i < loops_.size(); ++i) loops_[i] = true;
  }
}

}  // namespace lora::jinja
