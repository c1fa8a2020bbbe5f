#pragma once

#include <string>

namespace lora {

// Whether two paths name one file: through links, too, and where it is not there yet.
bool same_file(const std::string& a, const std::string& b);

}  // namespace lora
