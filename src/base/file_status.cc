#include "base/file_status.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace lora {

std::optional<uint64_t> file_bytes(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) return std::nullopt;
  return uint64_t(st.st_size);
}

std::optional<std::pair<uint64_t, uint64_t>> file_identity(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return std::nullopt;
  return std::pair{uint64_t(st.st_dev), uint64_t(st.st_ino)};
}

std::optional<uint64_t> free_disk_bytes(const std::string& folder) {
  struct statvfs st;
  if (::statvfs(folder.c_str(), &st) != 0) return std::nullopt;
  return uint64_t(st.f_bavail) * uint64_t(st.f_frsize);
}

void remove_file(const std::string& path) noexcept {
  ::unlink(path.c_str());
}

}  // namespace lora
