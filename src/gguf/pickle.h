// Python pickles, read as data: what torch.save writes for a dictionary of tensors. Nothing is executed. A
// pickle names functions to be called; here each name must be in a list given by the caller, and the call
// stays a node of the tree that the caller looks at. Everything else is refused by name.
//
// The format is a program for a stack machine (opcodes: CPython's Lib/pickletools.py). Each opcode makes one
// node at most, texts stay where they lie, and nodes are shared by their number, never copied: memory and
// time are at most a constant (some hundred bytes) times the bytes read, and depth costs nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lora {

struct PickleNode {
  enum class Kind {
    none,
    boolean,
    integer,
    real,        // its value is in no tensor's description, and dropped
    text,        // text and bytes
    tuple,       // also lists
    dict,        // children: key, value, key, value, ...
    global,      // text: "torch._utils _rebuild_tensor_v2"
    call,        // children: the global, its arguments
    persistent,  // children: what the archive's reader should look up
  };
  Kind kind = Kind::none;
  int64_t integer = 0;  // of boolean and integer
  std::string_view text{};
  std::vector<uint32_t> children{};  // indices into Pickle::nodes
};

struct Pickle {
  std::deque<PickleNode> nodes;
  uint32_t root = 0;

  const PickleNode& child(const PickleNode& node, size_t i) const { return nodes[node.children.at(i)]; }
};

// collections.OrderedDict becomes a dict; the state that BUILD sets is dropped. The result points into
// `bytes` and `allowed`. Error naming `path` for a malformed pickle, a global outside `allowed`, and opcodes
// that containers and tensors do not need.
Pickle parse_pickle(std::span<const std::byte> bytes, std::span<const std::string_view> allowed,
                    const std::string& path);

}  // namespace lora
