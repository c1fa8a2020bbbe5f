#include "template/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/utf8.h"
#include "template/meter.h"

namespace lora::jinja {
namespace {

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return uint8_t(c) < 0x80; });
}

uint32_t to_upper(uint32_t code) {
  if (code < 0x80) return 'a' <= code && code <= 'z' ? code - 32 : code;
  return code >= kStrayByte ? code : uint32_t(utf8proc_toupper(utf8proc_int32_t(code)));
}
uint32_t to_lower(uint32_t code) {
  if (code < 0x80) return 'A' <= code && code <= 'Z' ? code + 32 : code;
  return code >= kStrayByte ? code : uint32_t(utf8proc_tolower(utf8proc_int32_t(code)));
}

void append(std::string& out, uint32_t code) {
  if (code >= kStrayByte) {
    out += char(code - kStrayByte);
  } else {
    append_utf8(out, code);
  }
}
void append_upper(std::string& out, uint32_t code) {
  if (code == 0xdf) {
    out += "SS";
  } else {
    append(out, to_upper(code));
  }
}

// each(out, code) for every character.
template <class Each>
std::string map_characters(std::string_view text, Each each) {
  std::string out;
  spend(text.size() / 4);
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    each(out, step.code);
    at += step.size;
  }
  return out;
}

// Where the character before `end` begins.
size_t before(std::string_view text, size_t end) {
  for (size_t size = std::min<size_t>(4, end); size > 1; --size) {
    const Utf8Step step = decode_utf8(text.substr(0, end), end - size);
    if (step.size == size && step.code < kStrayByte) return end - size;
  }
  return end - 1;
}

bool strips(std::string_view character, const std::string_view* chars) {
  if (!chars) return is_space(decode_utf8(character, 0).code);
  spend(chars->size() / 4);
  for (size_t at = 0; at < chars->size();) {
    const size_t size = decode_utf8(*chars, at).size;
    if (chars->substr(at, size) == character) return true;
    at += size;
  }
  return false;
}

bool ends_line(uint32_t code) {
  return (code >= 0x0a && code <= 0x0d) || (code >= 0x1c && code <= 0x1e) || code == 0x85 || code == 0x2028 ||
         code == 0x2029;
}

}  // namespace

int64_t count_characters(std::string_view text) {
  spend(text.size() / 64);
  if (is_ascii(text)) return int64_t(text.size());
  spend(text.size() / 8);
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) at += decode_utf8(text, at).size;
  return count;
}

size_t byte_of_character(std::string_view text, int64_t number) {
  if (number >= int64_t(text.size())) return text.size();
  spend(uint64_t(number) / 64);
  if (is_ascii(text.substr(0, size_t(number)))) return size_t(number);
  spend(uint64_t(number) / 8);
  size_t at = 0;
  for (; number > 0 && at < text.size(); --number) at += decode_utf8(text, at).size;
  return at;
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> result;
  spend(text.size() / 4);
  need_bytes(text.size() * sizeof(std::string_view));
  for (size_t at = 0; at < text.size(); at += result.back().size())
    result.push_back(text.substr(at, decode_utf8(text, at).size));
  return result;
}

bool is_space(uint32_t code) {
  return (code >= 9 && code <= 13) || (code >= 0x1c && code <= 0x20) || code == 0x85 || code == 0xa0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 ||
         code == 0x202f || code == 0x205f || code == 0x3000;
}
bool is_letter(uint32_t code) {
  if (code < 0x80) return (code | 32) >= 'a' && (code | 32) <= 'z';
  if (code >= kStrayByte) return false;
  const utf8proc_category_t category = utf8proc_category(utf8proc_int32_t(code));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool is_digit(uint32_t code) {
  return code >= '0' && code <= '9';
}
bool is_upper(uint32_t code) {
  return to_lower(code) != code;
}
bool is_lower(uint32_t code) {
  return to_upper(code) != code || code == 0xdf;
}

std::string upper(std::string_view text) {
  return map_characters(text, append_upper);
}
std::string lower(std::string_view text) {
  return map_characters(text, [](std::string& out, uint32_t code) { append(out, to_lower(code)); });
}
std::string swap_case(std::string_view text) {
  return map_characters(text, [](std::string& out, uint32_t code) {
    if (is_lower(code)) {
      append_upper(out, code);
    } else {
      append(out, to_lower(code));
    }
  });
}
std::string capitalize(std::string_view text) {
  return map_characters(text, [first = true](std::string& out, uint32_t code) mutable {
    append(out, first ? to_upper(code) : to_lower(code));
    first = false;
  });
}
std::string title(std::string_view text) {
  return map_characters(text, [within = false](std::string& out, uint32_t code) mutable {
    append(out, within ? to_lower(code) : to_upper(code));
    within = is_upper(code) || is_lower(code);
  });
}

std::string_view strip_left(std::string_view text, const std::string_view* chars) {
  while (!text.empty()) {
    const size_t size = decode_utf8(text, 0).size;
    if (!strips(text.substr(0, size), chars)) break;
    text.remove_prefix(size);
  }
  return text;
}
std::string_view strip_right(std::string_view text, const std::string_view* chars) {
  while (!text.empty()) {
    const size_t start = before(text, text.size());
    if (!strips(text.substr(start), chars)) break;
    text = text.substr(0, start);
  }
  return text;
}
std::string_view strip(std::string_view text, const std::string_view* chars) {
  return strip_right(strip_left(text, chars), chars);
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  spend(text.size() / 8);
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    if (!ends_line(step.code)) {
      at += step.size;
      continue;
    }
    const size_t size = text.substr(at).starts_with("\r\n") ? 2 : step.size;
    lines.push_back(text.substr(begin, at - begin + (keep_ends ? size : 0)));
    begin = at += size;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

namespace {

std::vector<std::string_view> split_at_space(std::string_view text, int64_t most) {
  std::vector<std::string_view> parts;
  for (text = strip_left(text); !text.empty(); text = strip_left(text)) {
    if (most >= 0 && int64_t(parts.size()) >= most) {
      parts.push_back(text);
      break;
    }
    size_t at = 0;
    while (at < text.size()) {
      const Utf8Step step = decode_utf8(text, at);
      if (is_space(step.code)) break;
      at += step.size;
    }
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at);
  }
  return parts;
}

std::vector<std::string_view> split_at_space_from_right(std::string_view text, int64_t most) {
  std::vector<std::string_view> parts;
  for (text = strip_right(text); !text.empty(); text = strip_right(text)) {
    if (most >= 0 && int64_t(parts.size()) >= most) {
      parts.push_back(text);
      break;
    }
    size_t begin = text.size();
    while (begin > 0) {
      const size_t at = before(text, begin);
      if (is_space(decode_utf8(text, at).code)) break;
      begin = at;
    }
    parts.push_back(text.substr(begin));
    text = text.substr(0, begin);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

std::vector<std::string_view> split(std::string_view text, const std::string_view* separator, int64_t most) {
  spend(text.size() / (separator ? 32 : 8));
  if (!separator) return split_at_space(text, most);
  if (separator->empty()) raise("ValueError", "empty separator");
  std::vector<std::string_view> parts;
  size_t begin = 0;
  while (most < 0 || int64_t(parts.size()) < most) {
    const size_t at = find(text, *separator, begin);
    if (at == text.npos) break;
    parts.push_back(text.substr(begin, at - begin));
    begin = at + separator->size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

std::vector<std::string_view> split_from_right(std::string_view text, const std::string_view* separator,
                                               int64_t most) {
  spend(text.size() / (separator ? 32 : 8));
  if (!separator) return split_at_space_from_right(text, most);
  if (separator->empty()) raise("ValueError", "empty separator");
  std::vector<std::string_view> parts;
  while (most < 0 || int64_t(parts.size()) < most) {
    const size_t at = find_last(text, *separator);
    if (at == text.npos) break;
    parts.push_back(text.substr(at + separator->size()));
    text = text.substr(0, at);
  }
  parts.push_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

size_t find(std::string_view text, std::string_view what, size_t from) {
  if (from > text.size()) return text.npos;
  if (what.empty()) return from;
  constexpr size_t kShort = 32;
  if (what.size() <= kShort) return text.find(what, from);
  // A long one may fail late at every place: Knuth, Morris and Pratt's, which never goes back in the text.
  need_bytes(what.size() * sizeof(size_t));
  std::vector<size_t> border(what.size(),
                             0);  // of the first i + 1 characters, the longest that is their end, too
  for (size_t i = 1, n = 0; i < what.size(); ++i) {
    while (n > 0 && what[i] != what[n]) n = border[n - 1];
    border[i] = n += what[i] == what[n];
  }
  for (size_t at = from, n = 0; at < text.size(); ++at) {
    while (n > 0 && text[at] != what[n]) n = border[n - 1];
    n += text[at] == what[n];
    if (n == what.size()) return at + 1 - n;
  }
  return text.npos;
}

// Backwards a long pattern may be compared in full at every place.
size_t find_last(std::string_view text, std::string_view what) {
  if (what.size() > text.size()) return text.npos;
  for (size_t at = text.size() - what.size() + 1; at-- > 0;) {
    if (what.empty() || text[at] == what[0]) {
      spend(1 + what.size() / 64);
      if (text.compare(at, what.size(), what) == 0) return at;
    }
  }
  return text.npos;
}

std::string replace(std::string_view text, std::string_view old, std::string_view by, int64_t most) {
  std::string out;
  size_t begin = 0;
  const auto put = [&out](std::string_view part) {
    need_bytes(out.size() + part.size());
    out += part;
  };
  for (int64_t done = 0; most < 0 || done < most; ++done) {
    if (old.empty()) {  // before each character, and at the end
      if (done > 0) {
        if (begin >= text.size()) break;
        const size_t size = decode_utf8(text, begin).size;
        put(text.substr(begin, size));
        begin += size;
      }
      put(by);
      continue;
    }
    const size_t at = find(text, old, begin);
    if (at == text.npos) break;
    put(text.substr(begin, at - begin));
    put(by);
    begin = at + old.size();
  }
  put(text.substr(begin));
  return out;
}

}  // namespace lora::jinja
