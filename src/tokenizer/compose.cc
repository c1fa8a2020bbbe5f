// Nearly every character is settled: nothing that stands before it combines with it or changes place with it.
// So an unsettled one, a combining mark as a rule, concerns only the stretch from the settled character
// before it to the next one, and the rest of a text is copied as it is (Unicode Standard Annex 15, section
// 9).
#include "tokenizer/compose.h"

#include <utf8proc.h>

#include <algorithm>
#include <bitset>
#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

namespace lora {
namespace {

using Codes = std::vector<int32_t>;

int combining_class(int32_t code) {
  return utf8proc_get_property(code)->combining_class;
}

void append_decomposed(Codes& codes, int32_t code) {
  constexpr size_t kMost = 32;  // Unicode's longest canonical decomposition has 4
  int32_t parts[kMost];
  int boundary = 0;
  const auto n = utf8proc_decompose_char(code, parts, kMost, UTF8PROC_DECOMPOSE, &boundary);
  if (n < 0 || size_t(n) > kMost) fail("text: U+{:04X}: {}", code, utf8proc_errmsg(n));
  codes.insert(codes.end(), parts, parts + n);
}

// Marks in the order of their classes, then pairs joined. utf8proc's own sorting takes n^2 steps.
void reorder_and_join(Codes& codes) {
  for (size_t begin = 0; begin < codes.size();) {
    size_t end = begin;
    while (end < codes.size() && combining_class(codes[end]) != 0) ++end;
    std::stable_sort(codes.begin() + std::ptrdiff_t(begin), codes.begin() + std::ptrdiff_t(end),
                     [](int32_t a, int32_t b) { return combining_class(a) < combining_class(b); });
    begin = end + 1;
  }
  const auto n = utf8proc_normalize_utf32(codes.data(), utf8proc_ssize_t(codes.size()),
                                          utf8proc_option_t(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  if (n < 0) fail("text: {}", utf8proc_errmsg(n));
  codes.resize(size_t(n));
}

// Per code point. Made once, in about 15 ms.
class Settled {
 public:
  Settled() {
    bits_.set();
    Codes codes;
    for (int32_t code = 0x80; code < kCodes; ++code) {
      codes.clear();
      append_decomposed(codes, code);
      if (combining_class(code) != 0) bits_.reset(size_t(code));
      if (codes.size() == 1 && codes[0] == code) continue;
      const int32_t last = codes.back();
      reorder_and_join(codes);
      const bool comes_back = codes.size() == 1 && codes[0] == code;
      bits_.reset(size_t(comes_back ? last : code));
    }
  }
  bool operator[](uint32_t code) const { return bits_[code]; }

 private:
  static constexpr int32_t kCodes = 0x110000;
  std::bitset<size_t(kCodes)> bits_;
};

const Settled& settled() {
  static const auto table = std::make_unique<const Settled>();
  return *table;
}

// From `at` to the next byte that is not ASCII.
size_t skip_ascii(std::string_view text, size_t at) {
  for (uint64_t eight; at + sizeof eight <= text.size(); at += sizeof eight) {
    std::memcpy(&eight, text.data() + at, sizeof eight);
    if (eight & 0x8080808080808080u) break;
  }
  while (at < text.size() && uint8_t(text[at]) < 0x80) ++at;
  return at;
}

// Well-formed UTF-8.
void append_composed(std::string& out, std::string_view text, Codes& codes) {
  codes.clear();
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    append_decomposed(codes, int32_t(step.code));
    at += step.size;
  }
  reorder_and_join(codes);
  for (const int32_t code : codes) append_utf8(out, uint32_t(code));
}

}  // namespace

std::string_view composed(std::string_view text, std::string& buffer) {
  size_t at = skip_ascii(text, 0);
  if (at == text.size()) return text;
  const Settled& is_settled = settled();
  Codes codes;
  size_t copied = 0;                     // bytes of the text that are in the buffer
  size_t before = at > 0 ? at - 1 : at;  // the settled character before `at`, or `at` if there is none
  bool is_changed = false;
  while (at < text.size()) {
    Utf8Step step = decode_utf8(text, at);
    if (step.code >= kStrayByte) {
      before = at += step.size;
    } else if (is_settled[step.code]) {
      before = at;
      const size_t next = skip_ascii(text, at + step.size);
      if (next > at + step.size) before = next - 1;
      at = next;
    } else {
      size_t end = at;
      while (end < text.size()) {
        step = decode_utf8(text, end);
        if (step.code >= kStrayByte || is_settled[step.code]) break;
        end += step.size;
      }
      if (!is_changed) buffer.clear();
      is_changed = true;
      buffer.append(text, copied, before - copied);
      append_composed(buffer, text.substr(before, end - before), codes);
      copied = before = at = end;
    }
  }
  if (!is_changed) return text;
  buffer.append(text, copied);
  return buffer;
}

}  // namespace lora
