// The loop both tokenizer families share: of all adjacent pairs that may become one symbol, merge the one
// with the lowest key first, the leftmost among equals, until none is left.
//
// A heap of candidates over a doubly linked list: O(n log n) time and O(n) memory for n symbols. A candidate
// goes stale when either side has since been merged; it is recognised by its size when it is popped.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace lora {

struct Symbol {
  int32_t id;          // family's own number, -1 if not yet known
  int32_t begin;       // first byte in the piece of text
  int32_t size;        // bytes; 0 once merged into its left neighbour
  int32_t prev, next;  // neighbours in the list, -1 at the ends
};

template <class Key>
struct MergeCandidate {
  Key key;
  int32_t left, right;  // symbols
  int32_t size;         // bytes of both together when the candidate was made
  int32_t id;           // of the merged symbol
};

// Appends a symbol at the end of the list.
inline void append_symbol(std::vector<Symbol>& symbols, int32_t id, int32_t size) {
  const int32_t index = int32_t(symbols.size());
  const int32_t begin = index == 0 ? 0 : symbols.back().begin + symbols.back().size;
  if (index > 0) symbols.back().next = index;
  symbols.push_back({id, begin, size, index - 1, -1});
}

// find(left, right, key, id) tells whether the two symbols may merge and sets the key and the new id.
// `heap` is scratch. Symbol 0 stays the head of the list.
template <class Key, class Find>
void merge_symbols(std::vector<Symbol>& symbols, std::vector<MergeCandidate<Key>>& heap, const Find& find) {
  using Candidate = MergeCandidate<Key>;
  const auto later = [](const Candidate& a, const Candidate& b) {
    return b.key < a.key || (b.key == a.key && b.left < a.left);
  };
  const auto consider = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return false;
    Candidate c{Key{}, left, right, symbols[size_t(left)].size + symbols[size_t(right)].size, -1};
    if (!find(symbols[size_t(left)], symbols[size_t(right)], c.key, c.id)) return false;
    heap.push_back(c);
    return true;
  };

  heap.clear();
  for (int32_t i = 1; i < int32_t(symbols.size()); ++i) consider(i - 1, i);
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Candidate c = heap.back();
    heap.pop_back();
    Symbol& left = symbols[size_t(c.left)];
    Symbol& right = symbols[size_t(c.right)];
    if (left.size == 0 || right.size == 0 || left.size + right.size != c.size) continue;
    left.id = c.id;
    left.size = c.size;
    left.next = right.next;
    if (right.next >= 0) symbols[size_t(right.next)].prev = c.left;
    right.size = 0;
    if (consider(left.prev, c.left)) std::push_heap(heap.begin(), heap.end(), later);
    if (consider(c.left, left.next)) std::push_heap(heap.begin(), heap.end(), later);
  }
}

}  // namespace lora
