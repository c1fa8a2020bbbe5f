#include "base/file_kind.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lora {
namespace file_kind_test {

using namespace std::string_view_literals;

std::string kind_of(std::string_view text) {
  return std::string(file_kind(std::as_bytes(std::span(text))));
}

TEST(FileKind, NamesWhatPeopleHaveInsteadOfAModel) {
  const struct {
    std::string_view bytes, word;
  } files[] = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"},
      {"\x00\x05\x16\x07\x00\x02\x00\x00"sv, "macOS"},
      {"<!DOCTYPE html>\n<html>", "web page"},
      {"\xef\xbb\xbf \r\n<HTML lang=en>", "web page"},
      {"Access to model x/y is restricted.", "accept the model's terms"},
      {"{\"error\":\"Repository not found\"}", "server's answer"},
      {"GGUF\x03\x00\x00\x00"sv, "a GGUF file"},
      {"\x09\x00\x00\x00\x00\x00\x00\x00{\"a\":{} }"sv, "a safetensors file"},
      {"PK\x03\x04....", "zip"},
      {"\x1f\x8b\x08\x00"sv, "unpack"},
      {"tjgg\x03\x00\x00\x00"sv, "before GGUF"},
      {"algg\x01\x00\x00\x00"sv, "lora convert-lora"},
      {"\x08\x07\x12\x07pytorch", "ONNX"},
      {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"sv, "not finished"},
      {"", "empty"},
  };
  for (const auto& file : files) {
    EXPECT_NE(kind_of(file.bytes).find(file.word), std::string::npos)
        << file.bytes << " is " << kind_of(file.bytes);
  }
}

// What people have instead of a text, each with the way to one; a text that begins alike is a text.
TEST(FileKind, WhatIsNoTextSaysTheWayToOne) {
  const std::string zip = std::string("PK\x03\x04", 4);
  const struct {
    std::string bytes, word;
  } files[] = {
      {"PAR1 columns PAR1", "Parquet table; Python makes records of it"},
      {std::string("ARROW1\0\0...", 11), "Arrow table"},
      {std::string("\xff\xff\xff\xff\x10\x01\0\0schema", 14), "Arrow table"},
      {zip + "....[Content_Types].xml" + std::string(99999, '.') + "xl/workbook.xml",
       "Excel workbook; save its sheet as"},
      {zip + "....[Content_Types].xml....word/document.xml", "Word document"},
      {zip + "....mimetypeapplication/epub+zip", "e-book"},
      {zip + "....mimetypeapplication/vnd.oasis.opendocument.text", "OpenDocument"},
      {zip + "....train.jsonl", "a zip archive; unpack it"},
      {"\x1f\x8b\x08", "packed file; unpack it"},
      {"\x28\xb5\x2f\xfd", "packed file; unpack it"},
      {"%PDF-1.7", "pdftotext"},
      {"{\\rtf1", "plain text"},
      {"version https://git-lfs.github.com/spec/v1", "git lfs pull"},
  };
  for (const auto& [bytes, word] : files) {
    try {
      refuse_no_text(bytes, "a.txt");
      ADD_FAILURE() << word;
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()).find("a.txt: not a text: it is "), 0u) << e.what();
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
    }
  }
  for (const char* text : {"", "P", "PAR1 was the first.", "BZhou wrote:", "Rar! cried he.",
                           "GGUF is a format.", "<html>a page</html>", "Access to model"}) {
    EXPECT_NO_THROW(refuse_no_text(text, "a.txt")) << text;
  }
}

TEST(FileKind, KnowsNothingOfOtherFiles) {
  EXPECT_EQ(kind_of("Call me Ishmael."), "");
  EXPECT_EQ(kind_of("{\"architectures\": []}"), "");
  EXPECT_EQ(kind_of("\0\0\0"sv), "");
  EXPECT_EQ(kind_of("<htm"), "");
}

TEST(FileKind, IsPartOfOneErrorLine) {
  const std::string_view page = "<html>";
  try {
    refuse_known_kind(std::as_bytes(std::span(page)), "model.gguf", "a GGUF file");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find("model.gguf: not a GGUF file: it is a web page"), 0u) << e.what();
  }
}

}  // namespace file_kind_test
}  // namespace lora
