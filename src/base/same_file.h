// What writing a file would destroy: AtomicFile writes OUT.tmp and renames it over OUT, so both may be an
// input.
#pragma once

#include <span>
#include <string>

namespace lora {

// Whether two paths name one file: through links, too, and where it is not there yet.
bool same_file(const std::string& a, const std::string& b);

// The file that writing `out` would destroy: `input`, or where that is a folder a file in it; "" if none.
std::string replaced_by(const std::string& out, const std::string& input);

// Error if writing `out` would destroy one of the inputs, which are files, folders or "".
void expect_new(const std::string& out, std::span<const std::string> inputs);

}  // namespace lora
