#include "data/text_file.h"

#include <algorithm>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/hash.h"

namespace lora {

std::string with_unix_newlines(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (true) {
    const size_t end = text.find("\r\n");
    result += text.substr(0, end);
    if (end == std::string_view::npos) return result;
    text.remove_prefix(end + 1);
  }
}

void expect_text(std::string_view text, const std::string& path, uint64_t* sum) {
  const auto refuse = [whole = text, &path] {
    refuse_known_kind(std::as_bytes(std::span(whole)), path, "a text");
    fail("{}: holds zero bytes, so it is no text in UTF-8 (UTF-16? save it as UTF-8)", path);
  };
  refuse_no_text(text, path);
  constexpr size_t kPiece = 64 << 10;  // is in the cache the second time it is looked at
  for (; !text.empty(); text.remove_prefix(std::min(kPiece, text.size()))) {
    const std::string_view piece = text.substr(0, kPiece);
    if (piece.find('\0') != std::string_view::npos) refuse();
    if (sum) *sum = hash(piece, *sum);
  }
}

TextFile::TextFile(const std::string& path, uint64_t* sum)
    : file_(path), text_(without_byte_order_mark(file_.text())) {
  expect_text(file_.text(), path, sum);
  if (text_.find("\r\n") != std::string_view::npos) {
    changed_ = with_unix_newlines(text_);
    text_ = changed_;
  }
}

}  // namespace lora
