// Chats as SillyTavern keeps them: a file is one conversation.
//
//   {"user_name": ..., "character_name": ..., "chat_metadata": ...}   the first line, which may lack
//   {"name": ..., "is_user": true or false, "mes": ...}               a message on each further line
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "data/record_file.h"

namespace lora {

// A SillyTavern line: {"name": ..., "is_user": ..., "mes": ...}. False for lines that are no message (the
// header, remarks hidden from the model); Error for what is none of both. Adds what was not read to
// `ignored`.
bool is_sillytavern(const nlohmann::json& json);
bool read_sillytavern(const nlohmann::json& json, ChatMessage& message, std::set<std::string>& ignored);

// The conversation of a file of SillyTavern's lines; nullopt if it is no such file. Throws Error "line N:
// ..." for a line that is none, or leaves it out and adds that message to `skipped` if there is one.
std::optional<Record> read_sillytavern_chat(std::string_view text, RecordFormat format,
                                            std::vector<std::string>* skipped);

}  // namespace lora
