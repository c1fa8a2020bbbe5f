#include "gguf/pickle.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

#include "base/byte_cursor.h"
#include "base/error.h"
#include "base/printable.h"

namespace lora {
namespace {

using Kind = PickleNode::Kind;

constexpr std::string_view kOrderedDict = "collections OrderedDict";

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, std::span<const std::string_view> allowed,
          const std::string& path)
      : in_{bytes, path, "malformed pickle", "a value"},
        allowed_(allowed),
        path_(path),
        may_copy_(bytes.size()) {}

  Pickle run() {
    while (step(in_.number<uint8_t>())) {
    }
    result_.root = pop();
    return std::move(result_);
  }

 private:
  ByteCursor in_;
  std::span<const std::string_view> allowed_;
  const std::string& path_;
  uint64_t may_copy_;  // children that call() may yet copy
  Pickle result_;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, uint32_t> memo_;

  [[noreturn]] void malformed(std::string_view why) const { fail("{}: malformed pickle: {}", path_, why); }

  PickleNode& node(uint32_t index) { return result_.nodes[index]; }
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }  // below it lie others' values

  uint32_t make(PickleNode node) {
    result_.nodes.push_back(std::move(node));
    return uint32_t(result_.nodes.size() - 1);
  }
  void push(PickleNode node) { stack_.push_back(make(std::move(node))); }
  void push_integer(int64_t value) { push({Kind::integer, value}); }
  void push_text(std::string_view text) { push({Kind::text, 0, text}); }

  uint32_t top() const {
    if (stack_.size() <= floor()) malformed("takes a value from an empty stack");
    return stack_.back();
  }
  uint32_t pop() {
    const uint32_t index = top();
    stack_.pop_back();
    return index;
  }
  std::vector<uint32_t> pop_n(size_t n) {
    if (stack_.size() - floor() < n) malformed("takes a value from an empty stack");
    std::vector<uint32_t> values(stack_.end() - std::ptrdiff_t(n), stack_.end());
    stack_.resize(stack_.size() - n);
    return values;
  }
  std::vector<uint32_t> pop_to_mark() {
    if (marks_.empty()) malformed("has no mark where one is wanted");
    std::vector<uint32_t> values = pop_n(stack_.size() - marks_.back());
    marks_.pop_back();
    return values;
  }

  void extend(Kind kind, const std::vector<uint32_t>& values) {
    if (kind == Kind::dict && values.size() % 2 != 0) malformed("a dictionary has a key without a value");
    PickleNode& container = node(top());
    if (container.kind != kind) malformed("adds an element to what is no container");
    container.children.insert(container.children.end(), values.begin(), values.end());
  }

  void push_global(std::string_view module, std::string_view name) {
    const auto is_it = [&](std::string_view full) {
      return full.size() == module.size() + 1 + name.size() && full.starts_with(module) &&
             full[module.size()] == ' ' && full.ends_with(name);
    };
    const auto found = std::find_if(allowed_.begin(), allowed_.end(), is_it);
    if (found == allowed_.end() && !is_it(kOrderedDict)) {
      fail("{}: refused: the pickle asks for {}.{}; only tensors and plain containers are read", path_,
           printable(module), printable(name));
    }
    push({Kind::global, 0, found == allowed_.end() ? kOrderedDict : *found});
  }

  void call() {
    const uint32_t arguments = pop(), function = pop();
    if (node(function).kind != Kind::global || node(arguments).kind != Kind::tuple)
      malformed("calls what is no function");
    if (node(function).text != kOrderedDict) return push({Kind::call, 0, {}, {function, arguments}});
    PickleNode dict{Kind::dict};
    if (!node(arguments).children.empty()) {  // protocol 2 of Python 2: a list of pairs
      // A pair takes three bytes at least. Only one list given to many calls has more of them.
      const std::vector<uint32_t>& pairs = node(node(arguments).children[0]).children;
      if (2 * pairs.size() > may_copy_) malformed("makes more of a list than its bytes can hold");
      may_copy_ -= 2 * pairs.size();
      for (const uint32_t pair : pairs) {
        if (node(pair).kind != Kind::tuple || node(pair).children.size() != 2)
          malformed("a dictionary is made of what are no pairs");
        dict.children.insert(dict.children.end(), node(pair).children.begin(), node(pair).children.end());
      }
    }
    push(std::move(dict));
  }

  void remember(uint32_t key) { memo_[key] = top(); }
  void recall(uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) malformed("recalls a value that was not remembered");
    stack_.push_back(found->second);
  }

  // A signed little-endian integer of any length; torch.save uses it for sizes.
  void push_long(uint64_t n) {
    const std::string_view digits = in_.text(n);
    if (digits.size() > 8) malformed("an integer has more than 64 bits");
    uint64_t value = !digits.empty() && (digits.back() & 0x80) ? ~uint64_t{0} : 0;
    for (size_t i = digits.size(); i-- > 0;) value = value << 8 | uint8_t(digits[i]);
    push_integer(int64_t(value));
  }

  std::string_view line() {
    const auto rest = in_.bytes.subspan(in_.at);
    const auto end = std::find(rest.begin(), rest.end(), std::byte{'\n'});
    if (end == rest.end()) malformed("a line has no end");
    const std::string_view text = in_.text(uint64_t(end - rest.begin()));
    in_.take(1);
    return text;
  }

  // One opcode; false after STOP.
  bool step(uint8_t opcode) {
    switch (opcode) {
      case 0x80:  // PROTO
        in_.take(1);
        return true;
      case 0x95:  // FRAME
        in_.take(8);
        return true;
      case '.':  // STOP
        return false;
      case '(':  // MARK
        marks_.push_back(stack_.size());
        return true;
      case '0':  // POP
        pop();
        return true;
      case '1':  // POP_MARK
        pop_to_mark();
        return true;
      case '2':  // DUP
        stack_.push_back(top());
        return true;
      case 'N':
        push({Kind::none});
        return true;
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
        push({Kind::boolean, opcode == 0x88});
        return true;
      case 'J':  // BININT
        push_integer(in_.number<int32_t>());
        return true;
      case 'K':  // BININT1
        push_integer(in_.number<uint8_t>());
        return true;
      case 'M':  // BININT2
        push_integer(in_.number<uint16_t>());
        return true;
      case 0x8a:  // LONG1
        push_long(in_.number<uint8_t>());
        return true;
      case 'G':  // BINFLOAT, big-endian
        in_.take(8);
        push({Kind::real});
        return true;
      case 'X':  // BINUNICODE
      case 'T':  // BINSTRING
      case 'B':  // BINBYTES
        push_text(in_.text(in_.number<uint32_t>()));
        return true;
      case 0x8c:  // SHORT_BINUNICODE
      case 'U':   // SHORT_BINSTRING
      case 'C':   // SHORT_BINBYTES
        push_text(in_.text(in_.number<uint8_t>()));
        return true;
      case 0x8d:  // BINUNICODE8
        push_text(in_.text(in_.number<uint64_t>()));
        return true;
      case ')':  // EMPTY_TUPLE
      case ']':  // EMPTY_LIST
        push({Kind::tuple});
        return true;
      case '}':  // EMPTY_DICT
        push({Kind::dict});
        return true;
      case 't':  // TUPLE
      case 'l':  // LIST
        push({Kind::tuple, 0, {}, pop_to_mark()});
        return true;
      case 0x85:  // TUPLE1, TUPLE2, TUPLE3
      case 0x86:
      case 0x87:
        push({Kind::tuple, 0, {}, pop_n(size_t(opcode - 0x84))});
        return true;
      case 'a':  // APPEND
        extend(Kind::tuple, pop_n(1));
        return true;
      case 'e':  // APPENDS
        extend(Kind::tuple, pop_to_mark());
        return true;
      case 's':  // SETITEM
        extend(Kind::dict, pop_n(2));
        return true;
      case 'u':  // SETITEMS
        extend(Kind::dict, pop_to_mark());
        return true;
      case 'q':  // BINPUT
        remember(in_.number<uint8_t>());
        return true;
      case 'r':  // LONG_BINPUT
        remember(in_.number<uint32_t>());
        return true;
      case 0x94:  // MEMOIZE
        remember(uint32_t(memo_.size()));
        return true;
      case 'h':  // BINGET
        recall(in_.number<uint8_t>());
        return true;
      case 'j':  // LONG_BINGET
        recall(in_.number<uint32_t>());
        return true;
      case 'c': {  // GLOBAL
        const std::string_view module = line(), name = line();
        push_global(module, name);
        return true;
      }
      case 0x93: {  // STACK_GLOBAL
        const uint32_t name = pop(), module = pop();
        push_global(node(module).text, node(name).text);
        return true;
      }
      case 'R':  // REDUCE
        call();
        return true;
      case 'b':  // BUILD: state_dict()'s _metadata
        pop();
        if (node(top()).kind != Kind::dict && node(top()).kind != Kind::call)
          malformed("sets the state of what has none");
        return true;
      case 'Q':  // BINPERSID
        push({Kind::persistent, 0, {}, {pop()}});
        return true;
      default:
        fail("{}: refused: the pickle uses opcode 0x{:02x}; only tensors and plain containers are read",
             path_, opcode);
    }
  }
};

}  // namespace

Pickle parse_pickle(std::span<const std::byte> bytes, std::span<const std::string_view> allowed,
                    const std::string& path) {
  return Machine(bytes, allowed, path).run();
}

}  // namespace lora
