// The source of a template to its tree.
#pragma once

#include <string_view>

#include "template/tree.h"

namespace lora::jinja {

// Raises TemplateSyntaxError, with the line; tags, filters and tests that nobody knows are named.
Program parse(std::string_view source);

}  // namespace lora::jinja
