#include "base/file_status.h"

#include "base/windows/wide.h"

namespace lora {

std::optional<uint64_t> free_disk_bytes(const std::string& folder) {
  ULARGE_INTEGER free = {};
  if (!GetDiskFreeSpaceExW(wide_path(folder).c_str(), &free, nullptr, nullptr)) return std::nullopt;
  return free.QuadPart;
}

}  // namespace lora
