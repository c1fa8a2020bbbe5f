#include "base/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>

namespace lora {

struct Pattern::Code {
  pcre2_code* code;
  explicit Code(pcre2_code* compiled) : code(compiled) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
};

std::optional<Pattern> Pattern::compile(const std::string& expression, How how) {
  const uint32_t options = (how.at_start ? PCRE2_ANCHORED : 0) | (how.any_case ? PCRE2_CASELESS : 0);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                                   options, &error, &offset, nullptr);
  if (code == nullptr) return std::nullopt;
  return Pattern(std::make_shared<Code>(code));
}

std::optional<bool> Pattern::matches(std::string_view text, uint32_t most_steps) const {
  using Context = std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)>;
  using Data = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;
  const Context context(pcre2_match_context_create(nullptr), pcre2_match_context_free);
  const Data data(pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  pcre2_set_match_limit(context.get(), most_steps);
  const int found = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0,
                                data.get(), context.get());
  if (found < 0 && found != PCRE2_ERROR_NOMATCH) return std::nullopt;
  return found >= 0;
}

}  // namespace lora
