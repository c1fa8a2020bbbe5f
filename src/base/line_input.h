// Standard input line by line, for people and for pipes.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace lora {

class LineInput {
 public:
  // The next line without its line feed; nothing at the end of the input, or once should_stop says so,
  // which is asked while waiting, too.
  std::optional<std::string> next(const std::function<bool()>& should_stop);

 private:
  std::string pending_;
  bool at_end_ = false;
};

}  // namespace lora
