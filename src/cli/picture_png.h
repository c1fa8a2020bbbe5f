// An SVG picture as PNG, through librsvg.
#pragma once

#include <string>

namespace lora::cli {

// "" if PNG can be written here, else why not and what to do about it.
std::string why_no_png();

// A PNG file's bytes; `scale` of its pixels for one unit of the picture. Error where why_no_png() says why,
// or the picture cannot be drawn.
std::string to_png(const std::string& svg, double width, double height, double scale);

}  // namespace lora::cli
