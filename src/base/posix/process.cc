#include "base/process.h"

#include <unistd.h>

namespace lora {

int64_t process_id() {
  return ::getpid();
}

std::vector<std::string> arguments(int argc, char** argv) {
  return {argv, argv + argc};
}

std::string shell_word(std::string_view text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";
  if (!text.empty() && text.find_first_not_of(kPlain) == text.npos) return std::string(text);
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

StaysAwake::StaysAwake() = default;
StaysAwake::~StaysAwake() = default;

}  // namespace lora
