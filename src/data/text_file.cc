#include "data/text_file.h"

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

TextFile::TextFile(const std::string& path) : file_(path), text_(file_.text()) {
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  if (text_.starts_with(byte_order_mark)) text_.remove_prefix(byte_order_mark.size());
  if (text_.find("\r\n") != std::string_view::npos) {
    changed_ = with_unix_newlines(text_);
    text_ = changed_;
  }
}

}  // namespace lora
