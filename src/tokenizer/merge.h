// The loop both tokenizer families share: of all adjacent pairs that may become one symbol, merge the one
// with the lowest key first, the leftmost among equals, until none is left.
//
// A heap of candidates over the symbols of a piece of text: O(n log n) time for n symbols. A symbol is known
// by its first byte, so that its right neighbour begins where it ends, and its size stands at its last byte,
// too, where the right neighbour finds it: eight bytes of memory per byte of text, and sixteen per candidate.
// A candidate goes stale when either side has since been merged; then the two sides are larger together than
// when it was made, for symbols only grow.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace lora {

struct Symbol {
  int32_t id;    // at a symbol's first byte: family's own number, -1 if not yet known; else kInside
  int32_t size;  // at a symbol's first and last byte: how many it has
};
inline constexpr int32_t kInside = INT32_MIN;

// Of two symbols side by side: what tables of pairs are looked up by.
inline uint64_t pair_key(int32_t left, int32_t right) {
  return uint64_t{uint32_t(left)} << 32 | uint32_t(right);
}

// Those of a piece of text, one for each of its bytes.
using Symbols = std::vector<Symbol>;

// Appends a symbol at the end of the piece.
inline void append_symbol(Symbols& symbols, int32_t id, int32_t size) {
  const size_t begin = symbols.size();
  symbols.resize(begin + size_t(size), {kInside, size});
  symbols[begin].id = id;
}

template <class Key>
struct MergeCandidate {
  Key key;
  int32_t left;  // where it begins
  int32_t size;  // bytes of both together when the candidate was made
  int32_t id;    // of the merged symbol
};

// find(left, middle, right, key, id) tells whether the symbols [left, middle) and [middle, right) may merge
// and sets the key and the new id. `heap` is scratch.
template <class Key, class Find>
void merge_symbols(Symbols& symbols, std::vector<MergeCandidate<Key>>& heap, const Find& find) {
  using Candidate = MergeCandidate<Key>;
  const auto end = int32_t(symbols.size());
  const auto at = [&](int32_t i) -> Symbol& { return symbols[size_t(i)]; };
  const auto later = [](const Candidate& a, const Candidate& b) {
    return b.key < a.key || (b.key == a.key && b.left < a.left);
  };
  const auto consider = [&](int32_t left, int32_t middle) {
    if (middle == 0 || middle == end) return false;
    const int32_t right = middle + at(middle).size;
    Candidate c{Key{}, left, right - left, -1};
    if (!find(left, middle, right, c.key, c.id)) return false;
    heap.push_back(c);
    return true;
  };

  heap.clear();
  heap.reserve(2 * symbols.size());  // a merge takes one candidate and makes two at most, so it never moves
  for (int32_t i = 0; i < end; i += at(i).size) consider(i, i + at(i).size);
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Candidate c = heap.back();
    heap.pop_back();
    if (at(c.left).id == kInside) continue;
    const int32_t middle = c.left + at(c.left).size, right = c.left + c.size;
    if (middle >= right || middle + at(middle).size != right) continue;
    at(middle).id = kInside;
    at(c.left) = {c.id, c.size};
    at(right - 1).size = c.size;
    const int32_t before = c.left > 0 ? c.left - at(c.left - 1).size : 0;
    if (consider(before, c.left)) std::push_heap(heap.begin(), heap.end(), later);
    if (consider(c.left, right)) std::push_heap(heap.begin(), heap.end(), later);
  }
}

}  // namespace lora
