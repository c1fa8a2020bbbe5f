// JSON files of a Hugging Face folder.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace lora {

// Error naming the path if the file is missing, malformed, or its root is no object.
nlohmann::json read_json_file(const std::string& path);
// The same of text in memory.
nlohmann::json parse_json_object(std::string_view text, const std::string& path);

// A field of an object; nullptr where it is absent or null.
const nlohmann::json* json_field(const nlohmann::json& object, const char* key);
// Its value; nullopt where it is absent, null or of another type.
std::optional<std::string> json_text(const nlohmann::json& object, const char* key);
std::optional<bool> json_bool(const nlohmann::json& object, const char* key);
std::optional<double> json_number(const nlohmann::json& object, const char* key);
std::optional<int64_t> json_integer(const nlohmann::json& object, const char* key);

}  // namespace lora
