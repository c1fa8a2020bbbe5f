#include "base/line_input.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace lora {

bool read_input(std::string& pending) {
  // read() goes on after a signal, poll() does not; the pause bounds the wait for a signal just before it.
  constexpr int kPauseMs = 200;
  pollfd input = {STDIN_FILENO, POLLIN, 0};
  if (poll(&input, 1, kPauseMs) <= 0) return true;
  char buffer[4096];
  const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
  if (n < 0 && errno == EINTR) return true;
  if (n < 0) fail("standard input: cannot be read");
  pending.append(buffer, size_t(n));
  return n > 0;
}

}  // namespace lora
