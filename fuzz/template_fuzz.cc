// Any bytes as a chat template: it is refused or renders within its bounds, and twice the same. Input: the
// template.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "template/template.h"

namespace {

using namespace lora::jinja;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

const std::vector<Variable>& variables() {
  static const auto json = nlohmann::ordered_json::parse(R"({
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "na\u00efve \u96ea"},
                 {"role": "assistant", "content": "<think>a</think>b", "tool_calls": [
                   {"function": {"name": "f", "arguments": {"x": [1, 2.5, null, true]}}}]},
                 {"role": "user", "content": [{"type": "text", "text": "Bye"}]}],
    "tools": null, "add_generation_prompt": true, "bos_token": "<s>", "n": 3, "x": 0.5})");
  static const std::vector<Variable> all = [] {
    std::vector<Variable> made{{"stray", "a\xff\xc3(\xe2\x96 b"}};
    for (auto it = json.begin(); it != json.end(); ++it) made.push_back({it.key(), from_json(it.value())});
    return made;
  }();
  return all;
}

// The text, or the error's.
std::string outcome(std::string_view source, bool& is_text) {
  try {
    Rendered rendered = Template(source).render(variables(), {2026, 11, 28, 12, 0, 0});
    size_t after = 0;
    for (const Range& range : rendered.generated) {
      require(after <= range.begin && range.begin <= range.end && range.end <= rendered.text.size());
      after = range.end;
    }
    is_text = true;
    return std::move(rendered.text);
  } catch (const TemplateError& error) {
    require(error.line() >= 1 && !error.type().empty());
    return error.what();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  bool is_text = false;
  const std::string once = outcome(source, is_text);
  if (size < 1000) require(outcome(source, is_text) == once);
  return 0;
}
