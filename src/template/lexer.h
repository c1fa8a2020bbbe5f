// A template's text to tokens. White space beside tags goes here: trim_blocks and lstrip_blocks are on, `-`
// and `+` are obeyed, comments and raw blocks are dealt with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lora::jinja {

struct Token {
  enum Kind : uint8_t {
    data,
    print_begin,
    print_end,
    tag_begin,
    tag_end,
    name,
    string,
    integer,
    real,
    symbol,
    end
  };
  Kind kind;
  int line;
  std::string text;  // of a string what it means, of a number its digits without underscores
};

// Raises TemplateSyntaxError. The last token is of kind `end`.
std::vector<Token> tokenize(std::string_view source);

}  // namespace lora::jinja
