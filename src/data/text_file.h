// A text file as the rest of the program reads it: mapped, "\r\n" as "\n", without a byte order mark.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/utf8.h"

namespace lora {

// Replaces every "\r\n" by "\n"; a lone '\r' stays.
std::string with_unix_newlines(std::string_view text);

// Throws Error if the text of PATH is of a kind that is no text (base/file_kind.h) or holds zero bytes, as
// text in UTF-16 does (lines end in one). In the same pass its bytes are added to *hash (base/hash.h).
void expect_text(std::string_view text, const std::string& path, uint64_t* hash = nullptr);

class TextFile {
 public:
  // Throws Error "PATH: cannot open: REASON", and what expect_text throws. Copies the text only if it has to
  // change it. The file's own bytes are added to *hash.
  explicit TextFile(const std::string& path, uint64_t* hash = nullptr);
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;

  std::string_view text() const { return text_; }

 private:
  MappedFile file_;
  std::string changed_;
  std::string_view text_;
};

}  // namespace lora
