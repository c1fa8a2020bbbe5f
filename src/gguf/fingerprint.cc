#include "gguf/fingerprint.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <type_traits>
#include <variant>

#include "base/hash.h"

namespace lora {

uint64_t fingerprint(const Gguf& gguf) {
  constexpr size_t kSample = 4096;
  uint64_t h = hash(fmt::format("{}", gguf.file_bytes()));
  const auto add = [&](const auto& number) {
    h = hash({reinterpret_cast<const char*>(&number), sizeof number}, h);
  };
  const auto add_text = [&](std::string_view text) {
    add(uint64_t{text.size()});
    h = hash(text, h);
  };
  for (const auto& [name, value] : gguf.values()) {
    add_text(name);
    add(uint32_t(value.type));
    std::visit(
        [&](const auto& held) {
          using T = std::decay_t<decltype(held)>;
          if constexpr (std::is_same_v<T, std::string>) {
            add_text(held);
          } else if constexpr (std::is_arithmetic_v<T>) {
            add(held);
          } else {
            add(uint64_t{held.size()});
            if constexpr (std::is_same_v<T, std::vector<std::string>>) {
              for (const std::string& text : held) add_text(text);
            } else {
              for (const auto& number : held) add(number);
            }
          }
        },
        value.value);
  }
  for (const GgufTensor& tensor : gguf.tensors()) {
    h = hash(fmt::format("{} {} {}", tensor.name, uint32_t(tensor.type), tensor.shape()), h);
    const std::string_view bytes(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
    for (const size_t part : {size_t{0}, size_t{1}, size_t{2}}) {  // beginning, middle, end
      const size_t begin = (bytes.size() - std::min(bytes.size(), kSample)) / 2 * part;
      h = hash(bytes.substr(begin, kSample), h);
    }
  }
  return h;
}

}  // namespace lora
