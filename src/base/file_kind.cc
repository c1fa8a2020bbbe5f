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

struct Magic {
  std::string_view bytes;
  std::string_view kind;
  size_t at = 0;
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
    {"PK\x03\x04",
     "a zip archive: PyTorch's, which lora convert reads as pytorch_model.bin, or a packed file"},
    {"\x80\x02\x8a\x0al\xfc\x9c", "a file of PyTorch before 1.6; load and save it again with a newer one"},
    {"\x1f\x8b", kPacked},
    {"BZh", kPacked},
    {"\xfd"
     "7zXZ",
     kPacked},
    {"7z\xbc\xaf\x27\x1c", kPacked},
    {"\x28\xb5\x2f\xfd", kPacked},
    {"Rar!", kPacked},
    {"ustar", kPacked, 257},
    {"\x89HDF\r\n", "an HDF5 file (Keras), which is not supported; take the model's safetensors"},
    {"TFL3", "a TensorFlow Lite model, which is not supported; take the model's safetensors", 4},
    {"\x93NUMPY", "a NumPy array"},
    {"%PDF-", "a PDF"},
    {"\x89PNG", "a picture"},
    {"\xff\xd8\xff", "a picture"},
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

bool is_lfs_pointer(std::string_view text) {
  return file_kind(std::as_bytes(std::span(text.substr(0, 100)))) == kPointer;
}

}  // namespace lora
