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

// The same of an object in the file `path`; error where it is of another type. Of a switch a number, too.
std::optional<std::string> stated_text(const nlohmann::json& object, const char* key,
                                       const std::string& path);
std::optional<bool> stated_switch(const nlohmann::json& object, const char* key, const std::string& path);
std::optional<double> stated_number(const nlohmann::json& object, const char* key, const std::string& path);
std::optional<int64_t> stated_integer(const nlohmann::json& object, const char* key, const std::string& path);
// nullptr where it is absent or null.
const nlohmann::json* stated_list(const nlohmann::json& object, const char* key, const std::string& path);

}  // namespace lora
