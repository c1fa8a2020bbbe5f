#include "data/png_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/ascii.h"
#include "base/byte_cursor.h"
#include "base/error.h"
#include "base/printable.h"

namespace lora {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n"sv;

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c & 1) != 0 ? 0xedb88320u ^ c >> 1 : c >> 1;
    table[i] = c;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

uint32_t crc32(std::string_view bytes) {
  uint32_t c = ~uint32_t{0};
  for (const char byte : bytes) c = kCrcTable[(c ^ uint8_t(byte)) & 0xff] ^ c >> 8;
  return ~c;
}

// PNG's numbers have the highest byte first.
uint32_t take_number(ByteCursor& cursor) {
  uint32_t number = 0;
  for (const std::byte byte : cursor.take(4)) number = number << 8 | uint32_t(byte);
  return number;
}

// Up to the next zero byte, which is taken too; nullopt if there is none.
std::optional<std::string_view> take_to_zero(std::string_view& text) {
  const size_t end = text.find('\0');
  if (end == text.npos) return std::nullopt;
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(end + 1);
  return taken;
}

struct Text {
  std::string_view keyword, text;
  bool is_compressed = false;
};

// tEXt: keyword 0 text; zTXt: keyword 0 method text; iTXt: keyword 0 flag method language 0 keyword 0 text.
std::optional<Text> chunk_text(std::string_view type, std::string_view data) {
  if (type != "tEXt" && type != "zTXt" && type != "iTXt") return std::nullopt;
  const auto keyword = take_to_zero(data);
  if (!keyword) return std::nullopt;
  if (type == "tEXt") return Text{*keyword, data};
  if (type == "zTXt" || data.size() < 2 || data[0] != 0) return Text{*keyword, "", true};
  data.remove_prefix(2);
  if (!take_to_zero(data) || !take_to_zero(data)) return std::nullopt;
  return Text{*keyword, data};
}

}  // namespace

bool is_png(std::span<const std::byte> bytes) {
  return bytes.size() >= kSignature.size() &&
         std::string_view(reinterpret_cast<const char*>(bytes.data()), kSignature.size()) == kSignature;
}

std::string_view png_text(std::span<const std::byte> bytes, const std::string& path,
                          std::span<const std::string_view> keywords) {
  if (!is_png(bytes)) fail("{}: no PNG", path);
  ByteCursor cursor{bytes, path, "a PNG that is cut short", "a chunk"};
  cursor.take(kSignature.size());
  std::vector<std::optional<Text>> found(keywords.size());
  std::string_view type;
  do {
    const uint32_t size = take_number(cursor);
    const std::string_view body = cursor.text(uint64_t{4} + size);
    type = body.substr(0, 4);
    if (take_number(cursor) != crc32(body)) {
      fail("{}: damaged: the checksum of its chunk {} at byte {} is another", path, printable(type),
           cursor.at - body.size() - 8);
    }
    const std::optional<Text> text = chunk_text(type, body.substr(4));
    for (size_t i = 0; text && i < keywords.size(); ++i) {
      const bool is_new = !found[i] || (found[i]->is_compressed && !text->is_compressed);
      if (is_new && equal_in_any_case(text->keyword, keywords[i])) found[i] = text;
    }
  } while (type != "IEND");
  std::string wanted;
  for (const auto& text : found) {
    if (text && !text->is_compressed) return text->text;
  }
  for (size_t i = 0; i < keywords.size(); ++i) {
    if (found[i]) fail("{}: its text {} is compressed, which is not read here", path, keywords[i]);
    wanted += fmt::format("{}{}", i > 0 ? " or " : "", keywords[i]);
  }
  fail("{}: a picture without a text {}", path, wanted);
}

}  // namespace lora
