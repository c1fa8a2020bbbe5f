#include "template/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/ascii.h"
#include "base/printable.h"
#include "base/utf8.h"
#include "template/raised.h"
#include "template/text.h"

namespace lora::jinja {
namespace {

// Longer ones first.
constexpr std::array<std::string_view, 26> kSymbols = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                       "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                       ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

// Line ends as \n, and none at the end of the template.
std::string normalized(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text += source[i];
    } else if (i + 1 >= source.size() || source[i + 1] != '\n') {
      text += '\n';
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalized(source)), text_(source_) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) root();
    add(Token::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    Raised error("TemplateSyntaxError", why);
    error.line = line_;
    throw error;
  }
  void add(Token::Kind kind, std::string_view text) { tokens_.push_back({kind, line_, std::string(text)}); }
  // Goes on by `size` bytes.
  void pass(size_t size) {
    const std::string_view passed = text_.substr(at_, size);
    line_ += int(std::count(passed.begin(), passed.end(), '\n'));
    at_ += size;
    if (!passed.empty()) line_starts_ = passed.back() == '\n';
  }
  void pass_space() { pass(text_.size() - at_ - strip_left(text_.substr(at_)).size()); }
  bool sees(std::string_view what) const { return text_.substr(at_).starts_with(what); }

  // Puts out the text up to `end`, where a tag or comment begins, less the white space that the tag takes
  // away.
  void put_text(size_t end, char sign, bool is_print) {
    std::string_view text = text_.substr(at_, end - at_);
    if (sign == '-') {
      text = strip_right(text);
    } else if (sign != '+' && !is_print) {
      const size_t line = text.rfind('\n') + 1;  // npos + 1 is 0
      if ((line > 0 || line_starts_) && strip_left(text.substr(line)).empty()) text = text.substr(0, line);
    }
    if (!text.empty()) add(Token::data, text);
    pass(end - at_);
  }
  char sign_at(size_t at) const {
    return at < text_.size() && (text_[at] == '-' || text_[at] == '+') ? text_[at] : ' ';
  }

  // If the tag at `at` is {% WORD %}: how long it is, without what its end takes away.
  size_t word_tag(size_t at, std::string_view word) const {
    size_t i = at + 2 + (sign_at(at + 2) != ' ');
    const auto skip_space = [&] { i = text_.size() - strip_left(text_.substr(i)).size(); };
    if (i > text_.size()) return 0;
    skip_space();
    if (!text_.substr(i).starts_with(word)) return 0;
    i += word.size();
    skip_space();
    const std::string_view rest = text_.substr(i);
    if (rest.starts_with("%}") || (word == "endraw" && rest.starts_with("+%}")) || rest.starts_with("-%}"))
      return i - at;
    return 0;
  }
  // The end of a tag or comment that stands here: +%} leaves what follows, -%} takes white space, %} a line
  // end.
  void pass_end(bool takes_line_end) {
    const char sign = sign_at(at_);
    pass(sign == ' ' ? 2 : 3);
    if (sign == '-') {
      pass_space();
    } else if (sign == ' ' && takes_line_end && sees("\n")) {
      pass(1);
    }
  }

  void root() {
    size_t begin = at_;
    while ((begin = text_.find('{', begin)) != text_.npos) {
      const char next = begin + 1 < text_.size() ? text_[begin + 1] : ' ';
      if (next == '%' || next == '{' || next == '#') break;
      ++begin;
    }
    if (begin == text_.npos) {
      add(Token::data, text_.substr(at_));
      pass(text_.size() - at_);
      return;
    }
    const char kind = text_[begin + 1], sign = sign_at(begin + 2);
    put_text(begin, sign, kind == '{');
    if (kind == '#') return comment();
    if (const size_t size = kind == '%' ? word_tag(at_, "raw") : 0) return raw(size);
    add(kind == '{' ? Token::print_begin : Token::tag_begin, "");
    pass(sign == ' ' ? 2 : 3);
    inside(kind == '{');
  }

  void comment() {
    pass(sign_at(at_ + 2) == ' ' ? 2 : 3);
    if (at_ >= text_.size()) return;  // as in Jinja, what begins at the very end is left at that
    const size_t end = text_.find("#}", at_);
    if (end == text_.npos) fail("Missing end of comment tag");
    const bool is_signed = end > at_ && sign_at(end - 1) != ' ';
    pass(end - at_ - is_signed);
    pass_end(true);
  }

  void raw(size_t size) {
    pass(size);
    pass_end(false);
    if (at_ >= text_.size()) return;
    for (size_t end = at_; (end = text_.find("{%", end)) != text_.npos; ++end) {
      if (const size_t tag = word_tag(end, "endraw")) {
        put_text(end, sign_at(end + 2), false);
        pass(tag);
        return pass_end(true);
      }
    }
    fail("Missing end of raw directive");
  }

  void inside(bool is_print) {
    const int begin = line_;
    while (at_ < text_.size()) {
      if (open_.empty() && ends(is_print)) return;
      token();
    }
    line_ = begin;
    fail(is_print ? "a {{ has no }}" : "a {% has no %}");
  }
  bool ends(bool is_print) {
    const std::string_view end = is_print ? "}}" : "%}";
    if (!sees(end) && !((sees("-") || (sees("+") && !is_print)) && text_.substr(at_ + 1).starts_with(end)))
      return false;
    add(is_print ? Token::print_end : Token::tag_end, "");
    pass_end(!is_print);
    return true;
  }

  void token() {
    const Utf8Step step = decode_utf8(text_, at_);
    if (is_space(step.code)) return pass(step.size);
    if (is_digit(step.code)) return number();
    if (is_name(step.code)) return name();
    if (step.code == '"' || step.code == '\'') return string(char(step.code));
    for (const std::string_view symbol : kSymbols) {
      if (!sees(symbol)) continue;
      balance(symbol[0]);
      add(Token::symbol, symbol);
      return pass(symbol.size());
    }
    fail("unexpected char '" + printable(text_.substr(at_, step.size)) + "'");
  }
  static bool is_name(uint32_t code) { return code == '_' || is_digit(code) || is_letter(code); }

  void balance(char symbol) {
    constexpr std::string_view kOpen = "([{", kClose = ")]}";
    if (const size_t which = kOpen.find(symbol); which != kOpen.npos) open_ += kClose[which];
    if (kClose.find(symbol) == kClose.npos) return;
    if (open_.empty()) fail(std::string("unexpected '") + symbol + "'");
    if (open_.back() != symbol)
      fail(std::string("unexpected '") + symbol + "', expected '" + open_.back() + "'");
    open_.pop_back();
  }

  void name() {
    size_t end = at_;
    while (end < text_.size()) {
      const Utf8Step step = decode_utf8(text_, end);
      if (!is_name(step.code)) break;
      end += step.size;
    }
    add(Token::name, text_.substr(at_, end - at_));
    pass(end - at_);
  }

  // Digits with single underscores between them; none where there are none.
  std::string digits(size_t& at, std::string_view allowed) const {
    std::string found;
    const auto is_one = [&](size_t i) {
      return i < text_.size() && allowed.find(lower_case(text_[i])) != allowed.npos;
    };
    while (is_one(at) || (!found.empty() && at < text_.size() && text_[at] == '_' && is_one(at + 1))) {
      if (text_[at] != '_') found += text_[at];
      ++at;
    }
    return found;
  }

  void number() {
    size_t at = at_;
    constexpr std::string_view kDecimal = "0123456789";
    if (text_[at] == '0' && at + 1 < text_.size()) {
      const char base = lower_case(text_[at + 1]);
      const std::string_view allowed = base == 'x'   ? "0123456789abcdef"
                                       : base == 'o' ? "01234567"
                                       : base == 'b' ? "01"
                                                     : "";
      size_t end = at + 2 + (at + 2 < text_.size() && text_[at + 2] == '_');
      if (const std::string found = allowed.empty() ? "" : digits(end, allowed); !found.empty()) {
        int64_t value = 0;
        const auto [rest, error] = std::from_chars(found.data(), found.data() + found.size(), value,
                                                   base == 'x'   ? 16
                                                   : base == 'o' ? 8
                                                                 : 2);
        if (error != std::errc()) fail("the integer " + found.substr(0, 30) + "... has more than 64 bits");
        add(Token::integer, std::to_string(value));
        return pass(end - at_);
      }
    }
    std::string found = digits(at, kDecimal);
    const bool after_dot = at_ > 0 && text_[at_ - 1] == '.';  // a.1.2 has two integers
    bool is_real = false;
    if (!after_dot) {
      size_t end = at + 1;
      if (at < text_.size() && text_[at] == '.') {
        if (const std::string fraction = digits(end, kDecimal); !fraction.empty()) {
          found += "." + fraction;
          at = end;
          is_real = true;
        }
      }
      if (at < text_.size() && lower_case(text_[at]) == 'e') {
        const char sign = sign_at(at + 1);
        end = at + 1 + (sign != ' ');
        if (const std::string exponent = digits(end, kDecimal); !exponent.empty()) {
          found += 'e';
          if (sign == '-') found += '-';
          found += exponent;
          at = end;
          is_real = true;
        }
      }
    }
    if (!is_real && found.size() > 1 && found[0] == '0') {  // 007 is 0 and 07, as Jinja's pattern has it
      size_t zeros = 0;
      while (zeros < found.size() && found[zeros] == '0') ++zeros;
      if (zeros < found.size()) fail("leading zeros in the integer " + found.substr(0, 30));
    }
    add(is_real ? Token::real : Token::integer, found);
    pass(at - at_);
  }

  void string(char quote) {
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) fail("a string has no end");
    add(Token::string, unescape(text_.substr(at_ + 1, end - at_ - 1)));
    pass(end + 1 - at_);
  }

  std::string unescape(std::string_view text) const {
    std::string out;
    while (!text.empty()) {
      const size_t plain = std::min(text.find('\\'), text.size());
      out += text.substr(0, plain);
      text.remove_prefix(plain);
      if (!text.empty()) escape(text, out);
    }
    return out;
  }
  // Takes one escape off the text.
  void escape(std::string_view& text, std::string& out) const {
    constexpr std::string_view kNames = "abfnrtv\\'\"", kMeant = "\a\b\f\n\r\t\v\\'\"";
    const char c = text[1];
    const size_t which = kNames.find(c);
    if (which != kNames.npos) {
      out += kMeant[which];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      return code_point(text, out, c == 'x' ? 2 : c == 'u' ? 4 : 8, 16, 2);
    } else if ('0' <= c && c <= '7') {
      size_t size = 1;
      while (size < 3 && 1 + size < text.size() && text[1 + size] >= '0' && text[1 + size] <= '7') ++size;
      return code_point(text, out, size, 8, 1);
    } else if (c == 'N') {
      fail("not supported: \\N{...} in a string");
    } else if (c != '\n') {  // a line that is continued
      out += text.substr(0, 2);
    }
    text.remove_prefix(2);
  }
  void code_point(std::string_view& text, std::string& out, size_t size, int base, size_t from) const {
    uint32_t code = 0;
    const std::string_view written = text.substr(from, size);
    const auto [rest, error] = std::from_chars(written.data(), written.data() + written.size(), code, base);
    if (error != std::errc() || rest != written.data() + size)
      fail("truncated escape \\" + printable(text.substr(1, 1 + size)));
    text.remove_prefix(from + size);
    // Two halves of a pair make one character here, as they do in what JSON writes.
    if (code >= 0xd800 && code < 0xdc00 && size == 4 && text.starts_with("\\u") && text.size() >= 6) {
      uint32_t low = 0;
      const auto [end, wrong] = std::from_chars(text.data() + 2, text.data() + 6, low, 16);
      if (wrong == std::errc() && end == text.data() + 6 && low >= 0xdc00 && low < 0xe000) {
        text.remove_prefix(6);
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      }
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) fail("an escape that is no character");
    append_utf8(out, code);
  }

  const std::string source_;
  const std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;
  std::string open_;  // the brackets that are to be closed
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace lora::jinja
