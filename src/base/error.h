// The one exception type of the library. The library never prints, exits or aborts:
// it throws lora::Error, whose message reads "WHAT: WHY" and names the file, tensor or
// setting, what was expected and what was found. Only cli/ turns it into output.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

namespace lora {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws Error with a formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace lora
