#include "base/file_status.h"

#include <sys/statvfs.h>

namespace lora {

std::optional<uint64_t> free_disk_bytes(const std::string& folder) {
  struct statvfs st;
  if (::statvfs(folder.c_str(), &st) != 0) return std::nullopt;
  return uint64_t(st.f_bavail) * uint64_t(st.f_frsize);
}

}  // namespace lora
