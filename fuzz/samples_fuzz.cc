// Any text cut at any pattern: samples and patterns together are the text again, blank is what is blank, and
// no pattern is left inside a sample. Input: one byte with the pattern's length and, in its highest bit,
// include_pattern; the pattern; the text.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "data/cutter.h"
#include "data/samples.h"
#include "data/text_file.h"

namespace {

void require(bool holds) {
  if (!holds) __builtin_trap();
}

void check(std::string_view text, std::string_view pattern, bool include) {
  std::string joined;
  const bool has_head = !lora::is_blank(text.substr(0, text.find(pattern)));
  if (!has_head) joined = text.substr(0, text.find(pattern));
  bool is_head = has_head;
  lora::SampleCutter cutter(text, pattern, include);
  while (const auto sample = cutter.next()) {
    std::string_view body = sample->text;
    if (!is_head && include) {
      require(body.starts_with(pattern));
      body.remove_prefix(pattern.size());
    }
    require(body.find(pattern) == body.npos);
    require(sample->blank == lora::is_blank(body));
    if (!is_head) joined += pattern;
    joined += body;
    is_head = false;
  }
  require(joined == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t length = std::min<size_t>(1 + (data[0] & 15), rest.size());
  const std::string pattern = lora::unescape(rest.substr(0, length));
  check(rest.substr(length), pattern, (data[0] & 128) != 0);
  require(lora::with_unix_newlines(rest).find("\r\n") == std::string::npos ||
          rest.find("\r\r\n") != std::string_view::npos);
  return 0;
}
