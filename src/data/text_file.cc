#include "data/text_file.h"

#include "base/error.h"
#include "base/file_kind.h"

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

std::string_view without_byte_order_mark(std::string_view text) {
  constexpr std::string_view mark = "\xEF\xBB\xBF";
  return text.starts_with(mark) ? text.substr(mark.size()) : text;
}

void expect_text(std::string_view text, const std::string& path) {
  const bool is_text = text.find('\0') == std::string_view::npos;
  if (is_text && !is_lfs_pointer(text)) return;
  refuse_known_kind(std::as_bytes(std::span(text)), path, "a text");
  fail("{}: holds zero bytes, so it is no text in UTF-8 (UTF-16? save it as UTF-8)", path);
}

TextFile::TextFile(const std::string& path) : file_(path), text_(without_byte_order_mark(file_.text())) {
  expect_text(text_, path);
  if (text_.find("\r\n") != std::string_view::npos) {
    changed_ = with_unix_newlines(text_);
    text_ = changed_;
  }
}

}  // namespace lora
