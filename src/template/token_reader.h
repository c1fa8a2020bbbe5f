// What both halves of the parser stand on: the tokens at hand, where they are, and the nodes that are made.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "template/lexer.h"
#include "template/meter.h"
#include "template/raised.h"
#include "template/tree.h"

namespace lora::jinja {

using Words = std::initializer_list<std::string_view>;
bool is_one_of(std::string_view text, Words words);

class TokenReader {
 protected:
  explicit TokenReader(std::string_view source) : tokens_(tokenize(source)) {}

  // What stands around the place that is being read.
  struct Context {
    bool in_loop = false;      // of this macro
    bool is_optional = false;  // within an if: what is not known matters only where it is reached
    int depth = 0;
  };
  // The previous context when it ends.
  class Within {
   public:
    Within(TokenReader& reader, Context context) : reader_(reader), before_(reader.context_) {
      context.depth = before_.depth + 1;
      reader.context_ = context;
      if (context.depth > kMostNesting) reader.fail("the template nests too deep");
    }
    ~Within() { reader_.context_ = before_; }
    Within(const Within&) = delete;
    Within& operator=(const Within&) = delete;

   private:
    TokenReader& reader_;
    const Context before_;
  };
  Within deeper() { return Within(*this, context_); }
  Within block() { return Within(*this, {context_.in_loop, false}); }
  Within optional() { return Within(*this, {context_.in_loop, true}); }

  const Token& now() const;
  const Token& ahead() const;
  Token take();
  [[noreturn]] void fail(const std::string& why, int line = 0) const;
  static std::string shown(const Token& token);
  bool is_symbol(std::string_view symbol) const;
  bool is_word(std::string_view word) const;
  bool skip_symbol(std::string_view symbol);
  bool skip_word(std::string_view word);
  void expect_symbol(std::string_view symbol);
  void expect(Token::Kind kind);
  std::string expect_name();

  NameId intern(const std::string& name);
  static ExprPtr node(Expr::Kind kind, int line);
  // Adds a part and keeps count of the height, which the interpreter's recursion follows.
  void add(Expr& expr, ExprPtr part);
  void raise_to(Expr& expr, const Expr& part);
  template <class... Parts>
  ExprPtr node(Expr::Kind kind, int line, Parts... parts) {
    ExprPtr expr = node(kind, line);
    (add(*expr, std::move(parts)), ...);
    return expr;
  }
  ExprPtr constant(Value value, int line);
  // A macro takes further arguments if it says their name; a loop is counted if it is asked for.
  void note_use(std::string_view name);

  const std::vector<Token> tokens_;
  size_t at_ = 0;
  Context context_;
  std::vector<Signature*> signatures_;  // of the macros around
  std::vector<char> loops_;             // around: whether they are counted
  std::vector<Raised> unknown_;         // filters and tests of this statement
  std::unordered_map<std::string, NameId> ids_;
  Program program_;
};

}  // namespace lora::jinja
