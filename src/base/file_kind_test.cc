#include "base/file_kind.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lora {
namespace {

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

}  // namespace
}  // namespace lora
