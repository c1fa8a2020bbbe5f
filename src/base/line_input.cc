#include "base/line_input.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace lora {

std::optional<std::string> LineInput::next(const std::function<bool()>& should_stop) {
  // read() goes on after a signal, poll() does not; the pause bounds the wait for a signal just before it.
  constexpr int kPauseMs = 200;
  while (true) {
    if (should_stop()) return std::nullopt;
    const size_t end = pending_.find('\n');
    if (end != std::string::npos || (at_end_ && !pending_.empty())) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end == std::string::npos ? end : end + 1);
      return line;
    }
    if (at_end_) return std::nullopt;
    pollfd input = {STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, kPauseMs) <= 0) continue;
    char buffer[4096];
    const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("standard input: cannot be read");
    at_end_ = n == 0;
    pending_.append(buffer, size_t(n));
  }
}

}  // namespace lora
