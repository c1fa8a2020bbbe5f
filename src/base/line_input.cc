#include "base/line_input.h"

#include <utility>

#include "base/utf8.h"

namespace lora {

std::optional<std::string> LineInput::next(const std::function<bool()>& should_stop) {
  while (true) {
    if (should_stop()) return std::nullopt;
    const size_t end = pending_.find('\n');
    if (end != std::string::npos || (at_end_ && !pending_.empty())) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end == std::string::npos ? end : end + 1);
      if (line.ends_with('\r')) line.pop_back();
      if (std::exchange(at_begin_, false)) line.erase(0, line.size() - without_byte_order_mark(line).size());
      return line;
    }
    if (at_end_) return std::nullopt;
    at_end_ = !read_input(pending_);
  }
}

}  // namespace lora
