// What a file is that is not what was asked for. Downloads go wrong in a few ways, and each has its way out.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace lora {

// By its first bytes, "a web page, not the file: ...", with the way out; "" for what is not known.
std::string_view file_kind(std::span<const std::byte> bytes);

// Error "PATH: not WANTED: it is ..." if the bytes are of a kind that is known; for where reading has failed,
// or is sure to fail for every known kind. wanted: "a GGUF file".
void refuse_known_kind(std::span<const std::byte> bytes, const std::string& path, std::string_view wanted);

// Error "PATH: not a text: it is ..." for what begins like no text: packed files, tables, documents; with the
// way to a text. What has zero bytes is none either, and is not looked for here.
void refuse_no_text(std::string_view text, const std::string& path);

// The text that git leaves in the place of a large file where Git LFS is not installed.
bool is_lfs_pointer(std::string_view text);

}  // namespace lora
