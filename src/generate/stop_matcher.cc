#include "generate/stop_matcher.h"

#include <algorithm>

#include "base/utf8.h"

namespace lora {

namespace {

// The length of the longest end of the text that a longer `stop` begins with.
size_t begun_stop(std::string_view text, std::string_view stop) {
  for (size_t n = std::min(text.size(), stop.empty() ? 0 : stop.size() - 1); n > 0; --n) {
    if (stop.starts_with(text.substr(text.size() - n))) return n;
  }
  return 0;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

std::string StopMatcher::push(std::string_view bytes) {
  if (stopped_) return "";
  for (char byte : bytes) {
    pending_ += byte;
    size_t longest = 0;
    for (const std::string& stop : stops_) {
      if (pending_.ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) {
      stopped_ = true;
      pending_.resize(pending_.size() - longest);
      return release(pending_.size(), true);
    }
  }
  size_t held = 0;
  for (const std::string& stop : stops_) held = std::max(held, begun_stop(pending_, stop));
  return release(pending_.size() - held, false);
}

std::string StopMatcher::finish() {
  return release(pending_.size(), true);
}

// Takes whole characters from the first n_bytes of what is pending; at the end, everything.
std::string StopMatcher::release(size_t n_bytes, bool at_end) {
  constexpr uint32_t kReplacement = 0xfffd;
  std::string text;
  size_t at = 0;
  while (at < n_bytes) {
    const Utf8Step step = decode_utf8(pending_, at);
    const bool is_stray = step.code >= kStrayByte;
    const bool may_grow =
        at + step.size > n_bytes || (is_stray && is_cut_utf8(std::string_view(pending_).substr(at)));
    if (may_grow && !at_end) break;
    append_utf8(text, is_stray ? kReplacement : step.code);
    at += step.size;
  }
  pending_.erase(0, at);
  return text;
}

}  // namespace lora
