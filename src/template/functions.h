// The functions that every template can call: range, dict, namespace, raise_exception ...
#pragma once

#include <string_view>

#include "template/objects.h"

namespace lora::jinja {

// Null where there is none of that name.
const Value* find_function(std::string_view name);

}  // namespace lora::jinja
