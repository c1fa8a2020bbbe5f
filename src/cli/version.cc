#include "cli/version.h"

#include <fmt/format.h>

#include "kernels/isa.h"

namespace lora::cli {

namespace {

std::string names_of(const std::vector<Isa>& sets) {
  std::string names;
  for (Isa set : sets) names += fmt::format("{}{}", names.empty() ? "" : " ", name(set));
  return names;
}

}  // namespace

std::string version_text(bool verbose) {
  std::string text = "lora " LORA_VERSION "\n";
  if (verbose) {
    text += fmt::format(
        "kernel sets built: {}\nkernel sets supported by this machine: {}\nkernel set in use: {}\n",
        names_of(built_isas()), names_of(supported_isas()), name(isa()));
  }
  return text;
}

}  // namespace lora::cli
