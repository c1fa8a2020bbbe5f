// Character cards, which say who it is that SillyTavern's model speaks as: JSON of V1, V2 (chara_card_v2) and
// V3 (chara_card_v3), of Pygmalion's names too, by itself or as base64 in a PNG's text (ccv3, else chara).
//
// The system message of a card is SillyTavern's default story string, a part a line, without those that are
// empty:
//
//   SYSTEM_PROMPT
//   DESCRIPTION
//   NAME's personality: PERSONALITY
//   Scenario: SCENARIO
//   ***
//   EXAMPLE           (*** and this for each part of mes_example that <START> begins)
//
// Sources: Character Card specifications V2 and V3; SillyTavern's context template "Default".
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/macros.h"

namespace lora {

struct CharacterCard {
  std::string name;
  // What the system message is made of, trimmed, "\r\n" as "\n", macros as they stand; "" where not filled.
  std::string system_prompt, description, personality, scenario, mes_example;
  std::string version;            // of the character
  std::vector<std::string> used;  // names of those five that are filled
  std::vector<std::string>
      unused;  // filled fields that do not go in and that a model may have read; printable
};

// Throws Error "PATH: WHY" if it is no card, is damaged or cut short, has no name, or nothing of it would go
// into the system message; and for a macro in it of which nobody can tell what it stands for.
CharacterCard read_character_card(const std::string& path);
CharacterCard parse_character_card(std::span<const std::byte> bytes, const std::string& path);

// With the values of names (char, user, group). {{original}}, SillyTavern's own system prompt, is left out.
std::string card_system_message(const CharacterCard& card, MacroValues values, LeftMacros& left);

// Adds what messages may name of the card: {{description}}, {{personality}} ...
void add_card_values(const CharacterCard& card, MacroValues& values);

}  // namespace lora
