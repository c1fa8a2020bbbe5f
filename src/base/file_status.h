// What lies under a name, without opening it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/system_file.h"

namespace lora {

// Of a regular file, through links; nullopt where there is none.
std::optional<uint64_t> file_bytes(const std::string& path);

// The file's own number, the same under all of its names; nullopt where there is none.
std::optional<FileNumber> file_identity(const std::string& path);

// That may still be written in a folder; nullopt where the system does not tell.
std::optional<uint64_t> free_disk_bytes(const std::string& folder);

// If it is there and that is allowed; says nothing else, so that it can be used while an error is on its way.
void remove_file(const std::string& path) noexcept;

}  // namespace lora
