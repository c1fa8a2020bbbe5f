#include "base/file_status.h"

namespace lora {

std::optional<uint64_t> file_bytes(const std::string& path) {
  FileFacts facts;
  if (facts_of(path, Links::followed, facts) || facts.type != FileType::regular) return std::nullopt;
  return facts.bytes;
}

std::optional<FileNumber> file_identity(const std::string& path) {
  FileFacts facts;
  if (facts_of(path, Links::followed, facts)) return std::nullopt;
  return facts.number;
}

void remove_file(const std::string& path) noexcept {
  remove_name(path);
}

}  // namespace lora
