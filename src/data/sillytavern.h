// Chats as SillyTavern keeps them: a file is one conversation.
//
//   {"user_name": ..., "character_name": ..., "chat_metadata": ...}   the first line, which may lack
//   {"name": ..., "is_user": true or false, "mes": ...}               a message on each further line
//
// A message that is not the user's is the assistant's, with its thoughts (extra.reasoning) as
// reasoning_content; what /sys wrote is the system's; hidden ones (is_system) are left out. Macros are filled
// in (data/macros.h). Calls of tools, pictures and files beside a message are an error.
//
// Logs of text-generation-webui are read too, {"internal": [[user's, assistant's], ...], "visible": ...},
// which hold no names. Chats of other programs are refused by their name.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/character_card.h"
#include "data/macros.h"

namespace lora {

struct Record;            // data/record.h
enum class RecordFormat;  // data/record_file.h

struct TavernOptions {
  bool names = false;  // "NAME: " before each message, but for empty ones and /sys
  const CharacterCard* card = nullptr;
};

// What is to be said of the chats that were read.
struct TavernReport {
  int64_t n_chats = 0;
  int64_t n_hidden = 0;                    // messages
  int64_t n_groups = 0, n_strange = 0;     // chats of several characters; of none that the card is of
  std::string first_group, first_strange;  // "PATH: NAMES" of the first such
  LeftMacros left;
  std::string card;                       // "PATH (NAME)" of the card, "" without
  std::vector<std::string> used, unused;  // of its fields
};

// The conversation of a file that is a chat; nullopt for any other file. Throws Error, without the path, that
// says "line N: ..." for a line that cannot be read, or leaves it out and adds that message to `skipped` if
// there is one.
std::optional<Record> read_sillytavern_chat(std::string_view text, const std::string& path,
                                            RecordFormat format, const TavernOptions& options,
                                            TavernReport& report, std::vector<std::string>* skipped);

}  // namespace lora
