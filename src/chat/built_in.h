// The chat templates of chat/built_in/, a file each: for models that have none. Sources: the prompt formats
// that the models' authors publish; Alpaca: Taori et al., 2023; Vicuna: the v1.1 conversation format of
// FastChat.
//
// Mistral's versions differ in spaces, which its vocabularies turn into other tokens, and in where the system
// message goes: by v3's own template into the last user message, but a conversation has to begin the same
// however long it grows, so it goes into the first, as in llama.cpp.
#pragma once

#include <span>
#include <string_view>

namespace lora {

struct BuiltInTemplate {
  std::string_view name, text;
};

// By name, in alphabetical order.
std::span<const BuiltInTemplate> built_in_templates();

}  // namespace lora
