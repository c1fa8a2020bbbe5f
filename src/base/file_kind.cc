#include "base/file_kind.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/ascii.h"
#include "base/error.h"

namespace lora {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kPointer =
    "a git-lfs pointer, not the file itself; install git-lfs and run: git lfs pull";
constexpr std::string_view kWebPage =
    "a web page, not the file; take the download link itself, and log in where it asks for that";
constexpr std::string_view kRefusal =
    "a server's answer, not the file; log in, accept the model's terms, download again";
constexpr std::string_view kPacked = "a packed file; unpack it";
constexpr std::string_view kOldModel =
    "a model file from before GGUF (ggml), which nothing reads any more; take it as GGUF";

constexpr std::string_view kZip =
    "a zip archive: PyTorch's, which lora convert reads as pytorch_model.bin, or a packed file";
constexpr std::string_view kParquet =
    "a Parquet table; Python makes records of it: "
    "pandas.read_parquet(FILE).to_json('data.jsonl', orient='records', lines=True)";
constexpr std::string_view kArrow =
    "an Arrow table; Python makes records of it: datasets.Dataset.from_file(FILE).to_json('data.jsonl')";
constexpr std::string_view kRichText = "a Rich Text document; save it as plain text";
constexpr std::string_view kOldOffice = "a file of an Office program; save it as plain text, a table as .csv";

struct Magic {
  std::string_view bytes;
  std::string_view kind;
  size_t at = 0;
  bool may_be_text = true;  // there are texts that begin so, or zero bytes tell that it is none
};
constexpr Magic kMagics[] = {
    {"version https://git-lfs.github.com/spec/", kPointer},
    {"version https://hawser.github.com/spec/", kPointer},
    {"\x00\x05\x16\x07"sv,
     "a ._ file of macOS, which only describes the one of that name without ._; take that one"},
    {"\x00\x05\x16\x00"sv, "an AppleSingle file of macOS"},
    {"GGUF", "a GGUF file"},
    {"algg", "a LoRA in the old ggla form; lora convert-lora makes a GGUF of it"},
    {"lmgg", kOldModel},
    {"fmgg", kOldModel},
    {"tjgg", kOldModel},
    {"PK\x03\x04", kZip, 0, false},
    {"\x80\x02\x8a\x0al\xfc\x9c", "a file of PyTorch before 1.6; load and save it again with a newer one"},
    {"\x1f\x8b", kPacked, 0, false},
    {"1AY&SY", kPacked, 4, false},
    {"BZh", kPacked},
    {"\xfd"
     "7zXZ",
     kPacked, 0, false},
    {"7z\xbc\xaf\x27\x1c", kPacked, 0, false},
    {"\x28\xb5\x2f\xfd", kPacked, 0, false},
    {"Rar!\x1a\x07", kPacked, 0, false},
    {"Rar!", kPacked},
    {"ARROW1\0"sv, kArrow, 0, false},
    {"{\\rtf", kRichText, 0, false},
    {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", kOldOffice, 0, false},
    {"SQLite format 3\0"sv, "a database of SQLite; export its table as .csv", 0, false},
    {"ustar", kPacked, 257},
    {"\x89HDF\r\n", "an HDF5 file (Keras), which is not supported; take the model's safetensors"},
    {"TFL3", "a TensorFlow Lite model, which is not supported; take the model's safetensors", 4},
    {"\x93NUMPY", "a NumPy array", 0, false},
    {"%PDF-", "a PDF; pdftotext makes a text of it", 0, false},
    {"\x89PNG", "a picture", 0, false},
    {"\xff\xd8\xff", "a picture", 0, false},
    {"\x7f"
     "ELF",
     "a program"},
    // What Hugging Face answers instead of a file.
    {"Invalid username or password", kRefusal},
    {"Invalid credentials", kRefusal},
    {"Access to model", kRefusal},
    {"Repository not found", kRefusal},
    {"Entry not found", kRefusal},
    {"{\"error\"", kRefusal},
};

bool is_web_page(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  for (const std::string_view begin : {"<!doctype html"sv, "<html"sv, "<head"sv, "<?xml"sv}) {
    if (equal_in_any_case(begin, text.substr(0, begin.size()))) return true;
  }
  return false;
}

// The length of a header that lies in the file, and the header, which is a JSON object.
bool is_safetensors(std::string_view text) {
  if (text.size() < 10 || text[8] != '{') return false;
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, text.data(), 8);
  return header_bytes <= text.size() - 8;
}

// Such a file has its name at both ends.
bool is_parquet(std::string_view text) {
  return text.size() > 8 && text.starts_with("PAR1") && text.ends_with("PAR1");
}

// As a stream, which is how datasets are kept: a mark and the length of the schema.
bool is_arrow_stream(std::string_view text) {
  if (text.size() <= 8 || !text.starts_with("\xff\xff\xff\xff")) return false;
  uint32_t size = 0;
  for (int i = 7; i >= 4; --i) size = size << 8 | uint8_t(text[size_t(i)]);
  return size >= 8 && size < (1u << 24) && size % 8 == 0;
}

// What documents and tables call their parts, which a zip archive holds in clear.
std::string_view zip_kind(std::string_view text) {
  constexpr size_t kSearched = 64 << 10;  // its list of names stands at the end
  const std::string_view head = text.substr(0, 4096),
                         tail = text.substr(text.size() - std::min(text.size(), kSearched));
  const auto holds = [&](std::string_view name) {
    return head.find(name) != head.npos || tail.find(name) != tail.npos;
  };
  if (holds("xl/workbook")) return "an Excel workbook; save its sheet as .csv, in UTF-8";
  if (holds("word/document")) return "a Word document; save it as plain text, in UTF-8";
  if (holds("mimetypeapplication/epub+zip"))
    return "an e-book (EPUB); save it as plain text (pandoc, Calibre)";
  if (holds("mimetypeapplication/vnd.oasis"))
    return "an OpenDocument file; save it as plain text, a table as .csv, in UTF-8";
  return "a zip archive; unpack it";
}

bool is_onnx(std::string_view text) {
  const std::string_view head = text.substr(0, 64);
  return text.starts_with('\x08') && (head.find("onnx") != head.npos || head.find("pytorch") != head.npos);
}

}  // namespace

std::string_view file_kind(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.empty()) return "empty: the download was not finished, or not begun";
  for (const Magic& magic : kMagics) {
    if (text.size() > magic.at && text.substr(magic.at).starts_with(magic.bytes)) return magic.kind;
  }
  if (is_parquet(text)) return kParquet;
  if (is_arrow_stream(text)) return kArrow;
  if (is_web_page(text)) return kWebPage;
  if (is_safetensors(text)) {
    return "a safetensors file; lora convert makes a GGUF of a model's folder, lora convert-lora of a LoRA's";
  }
  if (is_onnx(text)) return "an ONNX model, which is not supported; take the model's safetensors";
  const std::string_view head = text.substr(0, 4096);
  if (head.size() >= 16 && head.find_first_not_of('\0') == head.npos) {
    return "all zeros where it begins: the download was not finished";
  }
  return "";
}

void refuse_known_kind(std::span<const std::byte> bytes, const std::string& path, std::string_view wanted) {
  const std::string_view kind = file_kind(bytes);
  if (!kind.empty()) fail("{}: not {}: it is {}", path, wanted, kind);
}

void refuse_no_text(std::string_view text, const std::string& path) {
  const auto refuse = [&](std::string_view kind) { fail("{}: not a text: it is {}", path, kind); };
  if (is_lfs_pointer(text)) refuse(kPointer);
  if (is_parquet(text)) refuse(kParquet);
  if (is_arrow_stream(text)) refuse(kArrow);
  for (const Magic& magic : kMagics) {
    if (!magic.may_be_text && text.size() > magic.at && text.substr(magic.at).starts_with(magic.bytes))
      refuse(magic.kind == kZip ? zip_kind(text) : magic.kind);
  }
}

bool is_lfs_pointer(std::string_view text) {
  return file_kind(std::as_bytes(std::span(text.substr(0, 100)))) == kPointer;
}

}  // namespace lora
