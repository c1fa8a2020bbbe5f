// What writing a file would destroy: what has its name, and what has a name that only its temporary files
// have.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/output.h"

namespace lora {

// Whether two paths name one file: through links, too, and where it is not there yet.
bool same_file(const std::string& a, const std::string& b);

// Whether a path lies in a folder that is there, at any depth, through links.
bool lies_in(const std::string& path, const std::string& folder);

// The file that writing `out` would destroy: `input`, or where that is a folder a file in it; "" if none.
std::string replaced_by(const std::string& out, const std::string& input);

// Error if writing `out` would destroy one of the inputs, which are files, folders or "".
void expect_new(const std::string& out, std::span<const std::string> inputs);

// The same, and then the right to write it; its warning is said.
[[nodiscard]] Hold hold_new(const std::string& out, std::span<const std::string> inputs,
                            const std::function<void(std::string_view line)>& say);

}  // namespace lora
