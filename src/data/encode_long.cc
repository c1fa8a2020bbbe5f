#include "data/encode_long.h"

#include <algorithm>
#include <optional>

namespace lora {
namespace {

// Where a text may be taken apart: text[.. left_end) and text[right_begin ..), of whose tokens the
// first `drop` are left out.
struct Split {
  int64_t left_end, right_begin;
  int64_t drop;
};

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

bool equals_joined(const std::vector<Token>& whole, const std::vector<Token>& left,
                   const std::vector<Token>& right, int64_t drop) {
  return int64_t(right.size()) >= drop && whole.size() + size_t(drop) == left.size() + right.size() &&
         std::equal(left.begin(), left.end(), whole.begin()) &&
         std::equal(right.begin() + drop, right.end(), whole.begin() + int64_t(left.size()));
}

// Can the text be split at the white space text[at]? SentencePiece-style vocabularies put a space in
// front of a text: that takes the place of a space in the text, or is dropped again before a line end.
std::optional<Split> split_at(std::string_view text, int64_t at, const Tokenizer& tokenizer,
                              bool parse_special) {
  constexpr int64_t neighbourhood = 256;  // bytes on each side; pieces of vocabularies are far shorter
  const int64_t begin = std::max<int64_t>(0, at - neighbourhood);
  const std::string_view left_text = text.substr(size_t(begin), size_t(at - begin));
  const std::string_view right_text = text.substr(size_t(at), neighbourhood);
  const std::vector<Token> whole =
      tokenizer.encode(text.substr(size_t(begin), left_text.size() + right_text.size()), parse_special);
  const std::vector<Token> left = tokenizer.encode(left_text, parse_special);
  const std::vector<Token> right = tokenizer.encode(right_text, parse_special);
  for (const int64_t drop : {0, 1}) {
    if (equals_joined(whole, left, right, drop)) return Split{at, at, drop};
  }
  if (text[size_t(at)] == ' ' &&
      equals_joined(whole, left, tokenizer.encode(right_text.substr(1), parse_special), 0)) {
    return Split{at, at + 1, 0};
  }
  return std::nullopt;
}

// The first place to split in [from, to): a single white space between two other characters.
std::optional<Split> find_split(std::string_view text, int64_t from, int64_t to, const Tokenizer& tokenizer,
                                bool parse_special) {
  constexpr int max_tries = 64;
  int tries = 0;
  to = std::min(to, int64_t(text.size()) - 1);
  for (int64_t at = std::max<int64_t>(from, 1); at < to && tries < max_tries; ++at) {
    const char c = text[size_t(at)];
    if ((c != ' ' && c != '\n') || is_space(text[size_t(at) - 1]) || is_space(text[size_t(at) + 1])) continue;
    if (const auto split = split_at(text, at, tokenizer, parse_special)) return split;
    ++tries;
  }
  return std::nullopt;
}

}  // namespace

void encode_long(std::vector<Token>& tokens, std::string_view text, const Tokenizer& tokenizer,
                 bool parse_special, ThreadPool& pool, int64_t chunk_bytes) {
  const int64_t size = int64_t(text.size());
  const int64_t n_places = size / chunk_bytes;
  std::vector<std::optional<Split>> found(static_cast<size_t>(n_places));
  pool.run(n_places, [&](int64_t i, int) {
    const int64_t from = (i + 1) * chunk_bytes;
    found[size_t(i)] = find_split(text, from, from + chunk_bytes / 2, tokenizer, parse_special);
  });
  std::vector<Split> bounds = {{0, 0, 0}};
  for (const auto& split : found) {
    if (split) bounds.push_back(*split);
  }
  bounds.push_back({size, size, 0});

  std::vector<Encoder> encoders;
  for (int worker = 0; worker < pool.size(); ++worker) encoders.emplace_back(tokenizer);
  constexpr int64_t round = 256;  // chunks whose tokens exist twice, here and in `tokens`
  std::vector<std::vector<Token>> encoded(static_cast<size_t>(round));
  const int64_t n_chunks = int64_t(bounds.size()) - 1;
  for (int64_t first = 0; first < n_chunks; first += round) {
    const int64_t n = std::min(round, n_chunks - first);
    pool.run(n, [&](int64_t i, int worker) {
      const Split& begin = bounds[size_t(first + i)];
      const int64_t end = bounds[size_t(first + i + 1)].left_end;
      encoded[size_t(i)].clear();
      encoders[size_t(worker)].append(encoded[size_t(i)],
                                      text.substr(size_t(begin.right_begin), size_t(end - begin.right_begin)),
                                      parse_special);
    });
    for (int64_t i = 0; i < n; ++i) {
      const std::vector<Token>& chunk = encoded[size_t(i)];
      tokens.insert(tokens.end(), chunk.begin() + bounds[size_t(first + i)].drop, chunk.end());
    }
  }
}

}  // namespace lora
