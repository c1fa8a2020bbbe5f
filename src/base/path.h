// Paths as text in UTF-8, with the separators of the system: "/", on Windows "\", too.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace lora {

bool is_separator(char c);

// Bytes at a path's begin that name no file but where all begin: of "/", on Windows of "C:\" or
// "\\server\share\", too.
size_t root_size(std::string_view path);

// {folder, name}: the folder ends with a separator, or is empty.
std::pair<std::string, std::string> split_path(const std::string& path);

// The folder that a path's file lies in, to be opened or put before another name: "." where none is named.
std::string folder_of(const std::string& path);

// The last part of a path, without a separator at its end: "models/tiny/" is "tiny". `otherwise` where it has
// none.
std::string last_part_of(std::string path, const std::string& otherwise);

// "models/tiny" of "models/tiny//".
std::string without_last_separators(std::string path);

// The name's file in a folder.
std::string path_in(const std::string& folder, std::string_view name);

// Without the last "." of the name and what follows it, if something stands before: "m" of "m.tar", ".m" of
// ".m".
std::string without_ending(std::string name);

// Whether it is a name in a folder, and nothing else on any system: no separator, no drive, neither "." nor
// "..".
bool is_plain_name(std::string_view name);

// The same file's path from a root on, without "." and ".."; `path` where the system has none such.
std::string absolute_path(const std::string& path);

// The same, and through links as far as there is something.
std::string real_path(const std::string& path);

// Paths that differ only in what the system does not tell apart are the same text then: small and capital
// letters, kinds of separators.
std::string fold_case(std::string text);

}  // namespace lora
