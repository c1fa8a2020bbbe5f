// Looks for stop strings in a text that comes in pieces of bytes, and hands on only what is certain:
// no part of a stop string, no part of a character. Bytes that are not UTF-8 become U+FFFD, so
// what comes out is always valid UTF-8. How the text was cut into pieces does not matter.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lora {

class StopMatcher {
 public:
  // Empty strings match nothing.
  explicit StopMatcher(std::vector<std::string> stops);

  // Takes the next bytes and returns what may be shown. The stop string whose end comes first counts, of
  // those ending together the longest; it and all after it are dropped.
  std::string push(std::string_view bytes);
  // At the end of the text: what was held back.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::string release(size_t n_bytes, bool at_end);

  std::vector<std::string> stops_;
  std::string pending_;
  bool stopped_ = false;
};

}  // namespace lora
