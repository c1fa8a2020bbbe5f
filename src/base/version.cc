#include "base/version.h"

namespace lora {

std::string_view program_version() {
  return LORA_VERSION;
}

}  // namespace lora
