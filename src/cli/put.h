// Messages to people. A terminal that is gone, a full disk or a closed pipe must not end the work, so what
// cannot be written is dropped (fmt::print would throw).
#pragma once

#include <cstdio>
#include <string_view>

namespace lora::cli {

inline void put(std::FILE* out, std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), out) != text.size()) std::clearerr(out);
}

}  // namespace lora::cli
