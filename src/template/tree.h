// A template as a tree: made once by the parser, then only read.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "template/value.h"

namespace lora::jinja {

struct Filter;  // filters.h
struct Test;    // tests.h
struct Method;  // methods.h

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

using NameId = uint32_t;  // place of a name in Program::names

enum class Op : uint8_t {
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power,
  eq,
  ne,
  lt,
  le,
  gt,
  ge,
  in,
  not_in
};

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<Value, ExprPtr>> named;
  ExprPtr star, star_star;  // null where there is none
};

struct Expr {
  enum Kind : uint8_t {
    constant,          // value
    name,              // id; value: the name
    tuple,             // parts
    list,              // parts
    dict,              // parts: key, value, key, value ...
    negate,            // parts: 1
    plus,              // parts: 1
    not_,              // parts: 1
    and_,              // parts: 2
    or_,               // parts: 2
    condition,         // parts: condition, then, else (may be null)
    arithmetic,        // parts: 2, ops: 1
    compare,           // parts: n + 1, ops: n
    concat,            // parts
    attribute,         // parts: 1; value: the name
    item,              // parts: 2
    slice,             // parts: start, stop, step, each may be null
    call,              // parts: 1; arguments
    filter,            // parts: 1, null in a filter block; arguments; known_filter; value: the name
    test,              // parts: 1; arguments; known_test; value: the name
    attribute_target,  // ns.attribute, which is assigned to; id, value: the attribute
  };
  Kind kind;
  int line;
  int height = 1;  // of the tree below
  Value value;
  NameId id = 0;
  std::vector<ExprPtr> parts;
  std::vector<Op> ops;
  std::unique_ptr<CallArguments> arguments;
  const Filter* known_filter = nullptr;  // null where no filter has the name; so in the others
  const Test* known_test = nullptr;
  const Method *of_string = nullptr, *of_list = nullptr, *of_dict = nullptr;  // what the attribute is in each
};

struct Stmt;
using Body = std::vector<Stmt>;

// What a macro, or the block of a call, takes.
struct Signature {
  std::string name;
  std::vector<NameId> parameters;
  std::vector<Value> names;
  std::vector<ExprPtr> defaults;  // of the last parameters
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

struct Stmt {
  enum Kind : uint8_t {
    text,        // data
    print,       // expr
    set,         // target, expr
    set_block,   // target, expr (filters, may be null), body
    for_,        // target, expr, condition (may be null), body, other; flag: recursive
    if_,         // branches, other
    macro,       // id, signature, body
    call,        // signature, expr, body
    filter,      // expr, body
    with,        // targets, values, body
    generation,  // body
    break_,
    continue_,
  };
  Stmt(Kind kind_, int line_) : kind(kind_), line(line_) {}
  Kind kind;
  int line;
  std::string data;
  NameId id = 0;
  ExprPtr expr, target, condition;
  std::vector<ExprPtr> targets, values;
  std::vector<std::pair<ExprPtr, Body>> branches;
  std::unique_ptr<Signature> signature;
  Body body, other;
  bool is_recursive = false, uses_loop = false;
};

struct Program {
  std::vector<std::string> names;
  Body body;
};

}  // namespace lora::jinja
