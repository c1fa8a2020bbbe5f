// Any file as a character card: it is read or refused; of one that is read, the system message holds what the
// macros leave. Input: the file.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/error.h"
#include "data/character_card.h"

namespace {

void require(bool holds) {
  if (!holds) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const lora::CharacterCard card =
        lora::parse_character_card(std::as_bytes(std::span(data, size)), "card.png");
    require(!card.name.empty() && !card.used.empty());
    lora::LeftMacros left;
    const lora::MacroValues names = {{"char", card.name}, {"user", "Ann"}};
    const std::string message = lora::card_system_message(card, names, left);
    require(message.size() <= 5 * (size + (16 << 20)) + 5 * card.name.size() + 100);
    require(left.counts.size() <= lora::LeftMacros::kMostNames);
    lora::MacroValues values = names;
    lora::add_card_values(card, values);
    require(values.size() >= names.size() + card.used.size());
  } catch (const lora::Error&) {
  }
  return 0;
}
