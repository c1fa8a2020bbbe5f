#include "cli/version.h"

#include <fmt/format.h>

#include "base/version.h"
#include "kernels/isa.h"

namespace lora::cli {

namespace {

std::string shown_names(const std::vector<Isa>& sets) {
  std::string names;
  for (Isa set : sets) names += fmt::format("{}{}", names.empty() ? "" : " ", name(set));
  return names;
}

}  // namespace

std::string version_text(bool verbose) {
  std::string text = fmt::format("lora {}\n", program_version());
  if (verbose) {
    text += fmt::format(
        "kernel sets built: {}\nkernel sets supported by this machine: {}\nkernel set in use: {}\n",
        shown_names(built_isas()), shown_names(supported_isas()), name(isa()));
  }
  return text;
}

}  // namespace lora::cli
