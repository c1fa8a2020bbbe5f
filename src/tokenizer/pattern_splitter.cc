// The part of pre_tokenizers.h that runs the patterns, with PCRE2.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/pre_tokenizers.h"

namespace lora {
namespace {

struct FreeMatchData {
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
};
struct FreeMatchContext {
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
};
using MatchData = std::unique_ptr<pcre2_match_data, FreeMatchData>;
using MatchContext = std::unique_ptr<pcre2_match_context, FreeMatchContext>;

// PCRE2's \s also takes U+180E, which Unicode dropped from white space in version 6.3; tokenizers do not.
std::string with_unicode_white_space(std::string_view pattern) {
  constexpr std::string_view list =
      R"(\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's' && in_class) {
        out += list;
      } else if (escaped == 's' || escaped == 'S') {
        out += escaped == 's' ? "[" : "[^";
        out += list;
        out += ']';
      } else {
        out += c;
        out += escaped;
      }
      continue;
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

}  // namespace

struct PreTokenizer::Compiled {
  pcre2_code* code = nullptr;

  explicit Compiled(std::string_view source) {
    const std::string pattern = with_unicode_white_space(source);
    int error = 0;
    PCRE2_SIZE offset = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                         PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &error, &offset, nullptr);
    if (!code) {
      PCRE2_UCHAR text[256];
      pcre2_get_error_message(error, text, sizeof text);
      fail("pre-tokenizer pattern {}: at {}: {}", pattern, offset, reinterpret_cast<const char*>(text));
    }
    // Without the just-in-time compiler (not every platform has it) PCRE2 interprets: slower, same result.
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  }
  ~Compiled() { pcre2_code_free(code); }
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
};

PreTokenizer::PreTokenizer(const PreTokenizerRow& row) {
  for (const std::string_view pattern : row.patterns)
    patterns_.push_back(std::make_unique<Compiled>(pattern));
}
PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;

void PreTokenizer::split(std::string_view text, const std::function<void(std::string_view)>& word) const {
  MatchContext context(pcre2_match_context_create(nullptr));
  if (!context) throw std::bad_alloc();
  // The limits guard against patterns that backtrack exponentially; ours do so at most linearly, and a run of
  // spaces as long as a file is no error.
  pcre2_set_match_limit(context.get(), UINT32_MAX);
  pcre2_set_depth_limit(context.get(), UINT32_MAX);
  pcre2_set_heap_limit(context.get(), UINT32_MAX);
  std::vector<MatchData> data;
  for (const auto& pattern : patterns_) {
    data.emplace_back(pcre2_match_data_create_from_pattern(pattern->code, nullptr));
    if (!data.back()) throw std::bad_alloc();
  }

  // Depth first, so that no list of parts is ever stored.
  const std::function<void(std::string_view, size_t)> cut = [&](std::string_view part, size_t level) {
    if (part.empty()) return;
    if (level == patterns_.size()) {
      word(part);
      return;
    }
    pcre2_match_data* match = data[level].get();
    size_t done = 0;
    for (size_t at = 0; at < part.size();) {
      const int rc = pcre2_match(patterns_[level]->code, reinterpret_cast<PCRE2_SPTR>(part.data()),
                                 part.size(), at, PCRE2_NO_UTF_CHECK, match, context.get());
      if (rc == PCRE2_ERROR_NOMATCH) break;
      if (rc < 0) {
        PCRE2_UCHAR message[256];
        pcre2_get_error_message(rc, message, sizeof message);
        fail("pre-tokenizer: {}", reinterpret_cast<const char*>(message));
      }
      const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match);
      const size_t begin = ends[0], end = ends[1];
      if (end <= begin) {  // an empty match cuts nothing
        at = begin >= part.size() ? begin : begin + decode_utf8(part, begin).size;
        continue;
      }
      cut(part.substr(done, begin - done), level + 1);
      cut(part.substr(begin, end - begin), level + 1);
      done = at = end;
    }
    cut(part.substr(done), level + 1);
  };

  while (!text.empty()) {
    const size_t valid = valid_utf8_prefix(text);
    cut(text.substr(0, valid), 0);
    text.remove_prefix(valid);
    size_t stray = 0;
    while (stray < text.size() && decode_utf8(text, stray).code >= kStrayByte) ++stray;
    if (stray > 0) word(text.substr(0, stray));
    text.remove_prefix(stray);
  }
}

}  // namespace lora
