#include "template/parser.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <optional>
#include <unordered_map>

#include "base/printable.h"
#include "template/filters.h"
#include "template/lexer.h"
#include "template/meter.h"
#include "template/methods.h"
#include "template/raised.h"
#include "template/tests.h"

namespace lora::jinja {
namespace {

using Words = std::initializer_list<std::string_view>;

bool is_one_of(std::string_view text, Words words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)) {}

  Program run() {
    program_.body = statements({});
    return std::move(program_);
  }

 private:
  // What stands around the place that is being read.
  struct Context {
    bool in_loop = false;      // of this macro
    bool is_optional = false;  // within an if: what is not known matters only where it is reached
    int depth = 0;
  };
  // The previous context when it ends.
  class Within {
   public:
    Within(Parser& parser, Context context) : parser_(parser), before_(parser.context_) {
      context.depth = before_.depth + 1;
      parser.context_ = context;
      if (context.depth > kMostNesting) parser.fail("the template nests too deep");
    }
    ~Within() { parser_.context_ = before_; }
    Within(const Within&) = delete;
    Within& operator=(const Within&) = delete;

   private:
    Parser& parser_;
    const Context before_;
  };
  Within deeper() { return Within(*this, context_); }
  Within block() { return Within(*this, {context_.in_loop, false}); }
  Within optional() { return Within(*this, {context_.in_loop, true}); }

  // --- tokens ---

  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return now().kind == Token::end ? now() : tokens_[at_++]; }
  [[noreturn]] void fail(const std::string& why, int line = 0) const {
    Raised error("TemplateSyntaxError", why);
    error.line = line > 0 ? line : now().line;
    throw error;
  }
  static std::string shown(const Token& token) {
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
  bool is_symbol(std::string_view symbol) const {
    return now().kind == Token::symbol && now().text == symbol;
  }
  bool is_word(std::string_view word) const { return now().kind == Token::name && now().text == word; }
  bool skip_symbol(std::string_view symbol) {
    if (!is_symbol(symbol)) return false;
    take();
    return true;
  }
  bool skip_word(std::string_view word) {
    if (!is_word(word)) return false;
    take();
    return true;
  }
  void expect_symbol(std::string_view symbol) {
    if (!skip_symbol(symbol))
      fail("expected token '" + std::string(symbol) + "', got '" + shown(now()) + "'");
  }
  void expect(Token::Kind kind) {
    if (now().kind != kind) fail("expected token '" + shown({kind, 0, ""}) + "', got '" + shown(now()) + "'");
    take();
  }
  std::string expect_name() {
    if (now().kind != Token::name) fail("expected token 'name', got '" + shown(now()) + "'");
    return take().text;
  }

  // --- nodes ---

  NameId intern(const std::string& name) {
    const auto [at, is_new] = ids_.try_emplace(name, NameId(program_.names.size()));
    if (is_new) program_.names.push_back(name);
    return at->second;
  }
  static ExprPtr node(Expr::Kind kind, int line) {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->line = line;
    return expr;
  }
  // Adds a part and keeps count of the height, which the interpreter's recursion follows.
  void add(Expr& expr, ExprPtr part) {
    if (part) raise_to(expr, *part);
    expr.parts.push_back(std::move(part));
  }
  void raise_to(Expr& expr, const Expr& part) {
    expr.height = std::max(expr.height, part.height + 1);
    if (expr.height > kMostNesting) fail("an expression nests too deep", expr.line);
  }
  template <class... Parts>
  ExprPtr node(Expr::Kind kind, int line, Parts... parts) {
    ExprPtr expr = node(kind, line);
    (add(*expr, std::move(parts)), ...);
    return expr;
  }
  ExprPtr constant(Value value, int line) {
    ExprPtr expr = node(Expr::constant, line);
    expr->value = std::move(value);
    return expr;
  }

  // --- expressions, the loosest first ---

  ExprPtr expression(bool with_condition = true) { return with_condition ? condition() : disjunction(); }

  ExprPtr condition() {
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
  ExprPtr disjunction() {
    ExprPtr left = conjunction();
    while (is_word("or")) {
      const int line = take().line;
      left = node(Expr::or_, line, std::move(left), conjunction());
    }
    return left;
  }
  ExprPtr conjunction() {
    ExprPtr left = negation();
    while (is_word("and")) {
      const int line = take().line;
      left = node(Expr::and_, line, std::move(left), negation());
    }
    return left;
  }
  ExprPtr negation() {
    if (!is_word("not")) return comparison();
    const Within within = deeper();
    const int line = take().line;
    return node(Expr::not_, line, negation());
  }

  ExprPtr comparison() {
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
  std::optional<Op> comparison_op() {
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

  using Level = ExprPtr (Parser::*)();
  ExprPtr left_to_right(std::initializer_list<std::pair<std::string_view, Op>> ops, Level next) {
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
  ExprPtr sum() { return left_to_right({{"+", Op::add}, {"-", Op::subtract}}, &Parser::concatenation); }
  ExprPtr concatenation() {
    ExprPtr first = product();
    if (!is_symbol("~")) return first;
    ExprPtr concat = node(Expr::concat, now().line, std::move(first));
    while (skip_symbol("~")) add(*concat, product());
    return concat;
  }
  ExprPtr product() {
    return left_to_right(
        {{"*", Op::multiply}, {"/", Op::divide}, {"//", Op::floor_divide}, {"%", Op::modulo}},
        &Parser::power);
  }
  ExprPtr power() { return left_to_right({{"**", Op::power}}, &Parser::unary); }
  ExprPtr unary() { return filtered(signed_primary()); }

  ExprPtr signed_primary() {
    if (!is_symbol("-") && !is_symbol("+")) return postfix(primary());
    const Within within = deeper();
    const Token sign = take();
    return postfix(node(sign.text == "-" ? Expr::negate : Expr::plus, sign.line, signed_primary()));
  }

  ExprPtr primary() {
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
  ExprPtr name_or_word(const Token& token) {
    if (token.text == "true" || token.text == "True") return constant(true, token.line);
    if (token.text == "false" || token.text == "False") return constant(false, token.line);
    if (token.text == "none" || token.text == "None") return constant(nullptr, token.line);
    note_use(token.text);
    ExprPtr name = node(Expr::name, token.line);
    name->id = intern(token.text);
    name->value = Value(token.text);
    return name;
  }

  bool is_tuple_end(Words words) const {
    if (now().kind == Token::print_end || now().kind == Token::tag_end || is_symbol(")")) return true;
    return now().kind == Token::name && is_one_of(now().text, words);
  }
  // One expression, or several with commas between.
  ExprPtr tuple(bool with_condition, Words end_words, bool in_parentheses) {
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
  ExprPtr list() {
    ExprPtr result = node(Expr::list, take().line);
    while (!is_symbol("]")) {
      if (!result->parts.empty()) expect_symbol(",");
      if (is_symbol("]")) break;
      add(*result, expression());
    }
    expect_symbol("]");
    return result;
  }
  ExprPtr dict() {
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

  ExprPtr postfix(ExprPtr expr) {
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
  ExprPtr attribute(ExprPtr owner) {
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
  ExprPtr subscript(ExprPtr owner) {
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
  ExprPtr slice_or_index() {
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
  ExprPtr call(ExprPtr callee) {
    ExprPtr result = node(Expr::call, now().line, std::move(callee));
    arguments(*result);
    return result;
  }
  void arguments(Expr& expr) {
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

  ExprPtr filtered(ExprPtr expr) {
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
  std::string dotted_name() {
    std::string name = expect_name();
    while (skip_symbol(".")) name.append(1, '.').append(expect_name());
    return name;
  }
  // Where it is not sure to be reached, it is an error only when it is.
  void note_unknown(const char* what, const std::string& name, int line) {
    if (context_.is_optional) return;
    unknown_.emplace_back("TemplateSyntaxError", fmt::format("No {} named '{}'.", what, printable(name)));
    unknown_.back().line = line;
  }
  ExprPtr filter(ExprPtr of) {
    const int line = now().line;
    const std::string name = dotted_name();
    ExprPtr result = node(Expr::filter, line, std::move(of));
    result->value = Value(name);
    result->known_filter = find_filter(name);
    if (!result->known_filter) note_unknown("filter", name, line);
    if (is_symbol("(")) arguments(*result);
    return result;
  }
  ExprPtr test(ExprPtr of) {
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
  bool begins_argument() const {
    const Token& token = now();
    if (token.kind == Token::name) return !is_one_of(token.text, {"else", "or", "and"});
    return token.kind == Token::string || token.kind == Token::integer || token.kind == Token::real ||
           is_symbol("[") || is_symbol("{");
  }

  // --- what is assigned to ---

  ExprPtr name_target() {
    const Token token = now();
    const std::string name = expect_name();
    if (is_one_of(name, {"true", "false", "none", "True", "False", "None"}))
      fail("can't assign to '" + name + "'", token.line);
    ExprPtr target = node(Expr::name, token.line);
    target->id = intern(name);
    target->value = Value(name);
    return target;
  }
  ExprPtr one_target(bool with_attributes) {
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
  ExprPtr target(bool with_attributes, Words end_words) {
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

  // --- statements ---

  // Up to one of the end tags, whose name is left to be read; up to the end of the template where there are
  // none.
  Body statements(Words end_words) {
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
  // The rest of a tag, then what it encloses, and the last end tag's name.
  Body enclosed(Words end_words) {
    expect(Token::tag_end);
    Body body = statements(end_words);
    if (end_words.size() == 1) take();
    return body;
  }

  void statement(Body& body, Words end_words) {
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

  void print(Body& body) {
    const int line = take().line;
    for (bool is_first = true; now().kind != Token::tag_end; is_first = false) {
      if (!is_first) expect_symbol(",");
      Stmt stmt(Stmt::print, line);
      stmt.expr = expression();
      body.push_back(std::move(stmt));
    }
  }
  void set(Stmt& stmt) {
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
  void refuse_loop(const Expr& target) const {
    if (target.kind == Expr::name && target.value.text() == "loop")
      fail("Can't assign to special loop variable in for-loop target", target.line);
    for (const ExprPtr& part : target.parts) refuse_loop(*part);
  }
  void for_loop(Stmt& stmt) {
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
  void if_block(Stmt& stmt) {
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
  void macro(Stmt& stmt) {
    take();
    stmt.kind = Stmt::macro;
    const ExprPtr name = name_target();
    stmt.id = name->id;
    if (!is_symbol("(")) expect_symbol("(");
    callable(stmt, std::string(name->value.text()), "endmacro");
  }
  void call_block(Stmt& stmt) {
    take();
    stmt.kind = Stmt::call;
    callable(stmt, "caller", "endcall");
  }
  // The parameters, of a call block what is called, and the body.
  void callable(Stmt& stmt, std::string name, std::string_view end_word) {
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
  // A macro takes further arguments if it says their name; a loop is counted if it is asked for.
  void note_use(std::string_view name) {
    for (Signature* signature : signatures_) {
      signature->uses_varargs |= name == "varargs";
      signature->uses_kwargs |= name == "kwargs";
      signature->uses_caller |= name == "caller";
    }
    if (name == "loop") {
      for (size_t i = 0; i < loops_.size(); ++i) loops_[i] = true;
    }
  }
  void filter_block(Stmt& stmt) {
    take();
    stmt.kind = Stmt::filter;
    stmt.expr = filter(nullptr);
    while (skip_symbol("|")) stmt.expr = filter(std::move(stmt.expr));
    const Within within(*this, {});
    stmt.body = enclosed({"endfilter"});
  }
  void with(Stmt& stmt) {
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
  void generation(Stmt& stmt) {
    take();
    stmt.kind = Stmt::generation;
    const Within within(*this, {});
    stmt.body = enclosed({"endgeneration"});
  }
  void jump(Stmt& stmt) {
    if (!context_.in_loop) fail("'" + now().text + "' outside loop");
    stmt.kind = take().text == "break" ? Stmt::break_ : Stmt::continue_;
  }

  const std::vector<Token> tokens_;
  size_t at_ = 0;
  Context context_;
  std::vector<Signature*> signatures_;  // of the macros around
  std::vector<char> loops_;             // around: whether they are counted
  std::vector<Raised> unknown_;         // filters and tests of this statement
  std::unordered_map<std::string, NameId> ids_;
  Program program_;
};

}  // namespace

Program parse(std::string_view source) {
  return Parser(source).run();
}

}  // namespace lora::jinja
