#include "base/file_status.h"

#include <sys/stat.h>
#include <unistd.h>

namespace lora {

std::optional<uint64_t> file_bytes(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) return std::nullopt;
  return uint64_t(st.st_size);
}

void remove_file(const std::string& path) noexcept {
  ::unlink(path.c_str());
}

}  // namespace lora
