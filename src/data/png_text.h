// Texts that a PNG carries beside its picture, in chunks tEXt and iTXt.
//
// Source: W3C, "Portable Network Graphics (PNG) Specification", third edition.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace lora {

bool is_png(std::span<const std::byte> bytes);

// The text under the first of the keywords (in any case of letters) that there is one under, as it stands.
// Throws Error "PATH: WHY" for a file that is cut short or damaged, one without such a text, and one that has
// it compressed only.
std::string_view png_text(std::span<const std::byte> bytes, const std::string& path,
                          std::span<const std::string_view> keywords);

}  // namespace lora
