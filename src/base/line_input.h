// Standard input line by line, for people and for pipes.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace lora {

class LineInput {
 public:
  // The next line without its end, be that Windows', and without a byte order mark; nothing at the end of the
  // input, or once should_stop says so, which is asked while waiting, too.
  std::optional<std::string> next(const std::function<bool()>& should_stop);

 private:
  std::string pending_;
  bool at_begin_ = true, at_end_ = false;
};

// Appends what standard input has, waiting for it for a moment at most; false at its end. Error if it cannot
// be read.
bool read_input(std::string& pending);

}  // namespace lora
