#include "data/text_file.h"

namespace lora {

std::string with_unix_newlines(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    result += text[i];
  }
  return result;
}

TextFile::TextFile(const std::string& path) : file_(path), text_(file_.text()) {
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  if (text_.starts_with(byte_order_mark)) text_.remove_prefix(byte_order_mark.size());
  if (text_.find("\r\n") != std::string_view::npos) {
    changed_ = with_unix_newlines(text_);
    text_ = changed_;
  }
}

}  // namespace lora
