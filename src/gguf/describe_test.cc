#include "gguf/describe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "gguf/gguf.h"
#include "gguf/test_files.h"

namespace lora {
namespace describe_test {

using nlohmann::json;
using test::error_of;
using test::ScratchFile;
using testing::HasSubstr;

std::string json_of(const std::string& path) {
  std::string text;
  describe_as_json(path, {}, [&](std::string_view piece) { text += piece; });
  return text;
}

// A GGUF with one of each kind of value, two tensors, and strings made to break a careless printer.
void write_sample(const std::string& path) {
  const std::vector<float> floats(64, 1.0f);
  const std::string q8(2 * 34, '\0');
  GgufWriter writer;
  writer.set_string("general.architecture", "llama");
  writer.set_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  writer.set_f32("not.finite", NAN);
  writer.set_bool("tokenizer.ggml.add_bos_token", true);
  writer.set_strings("tokenizer.ggml.tokens", {"<s>", "\xff", "c", "d", "e", "f", "g", "h"});
  writer.set("flags", {GgufValueType::array, GgufValueType::boolean, std::vector<uint64_t>{1, 0}});
  writer.set_string("template", "line one\nline \x1b[31m two " + std::string(300, 'x'));
  writer.set_u64("large", UINT64_MAX);
  writer.add_tensor("token_embd.weight", Type::F32, {32, 2}, std::as_bytes(std::span(floats)));
  writer.add_tensor("output.weight", Type::Q8_0, {32, 2}, test::as_bytes(q8));
  writer.write(path);
}

TEST(Describe, JsonHoldsEverything) {
  const ScratchFile file("sample.gguf");
  write_sample(file.path);
  const json j = json::parse(json_of(file.path));
  EXPECT_EQ(j.at("format"), "gguf");
  EXPECT_EQ(j.at("version"), 3);
  EXPECT_EQ(j.at("file_bytes"), file.content().size());
  EXPECT_EQ(j.at("parameters"), 128);
  EXPECT_EQ(j.at("bits_per_weight"), (256 + 68) * 8 / 128.0);
  EXPECT_FALSE(j.contains("active_parameters"));
  const json& metadata = j.at("metadata");
  EXPECT_EQ(metadata.size(), 8u);
  EXPECT_EQ(metadata.at("general.architecture"), "llama");
  EXPECT_EQ(metadata.at("llama.attention.layer_norm_rms_epsilon"), 1e-5) << "with the digits of f32";
  EXPECT_TRUE(metadata.at("not.finite").is_null());
  EXPECT_EQ(metadata.at("tokenizer.ggml.add_bos_token"), true);
  EXPECT_EQ(metadata.at("tokenizer.ggml.tokens").size(), 8u);
  EXPECT_EQ(metadata.at("tokenizer.ggml.tokens").at(1), "\xef\xbf\xbd") << "not UTF-8: U+FFFD";
  EXPECT_EQ(metadata.at("flags"), (json{true, false}));
  EXPECT_EQ(metadata.at("large"), UINT64_MAX);
  ASSERT_EQ(j.at("tensors").size(), 2u);
  EXPECT_EQ(j.at("tensors").at(1),
            (json{{"name", "output.weight"}, {"type", "Q8_0"}, {"shape", {32, 2}}, {"bytes", 68}}));
}

TEST(Describe, TextIsAlignedAbbreviatedAndPrintable) {
  const ScratchFile file("sample.gguf");
  write_sample(file.path);
  const std::string text = describe_as_text(file.path);
  EXPECT_THAT(text, HasSubstr(file.path + ": gguf version 3, "));
  EXPECT_THAT(text, HasSubstr("  general.architecture                    string     llama\n"));
  EXPECT_THAT(text, HasSubstr("  llama.attention.layer_norm_rms_epsilon  f32        1e-05\n"));
  EXPECT_THAT(text, HasSubstr("string[8]  [\"<s>\", \"\\xff\", \"c\", \"d\", \"e\", \"f\", ...]\n"));
  EXPECT_THAT(text, HasSubstr("bool[2]    [true, false]\n"));
  EXPECT_THAT(text, HasSubstr("line one\\nline \\x1b[31m two xxx"));
  EXPECT_THAT(text, HasSubstr("xxx...\n"));
  EXPECT_THAT(text, HasSubstr("  token_embd.weight  F32   32 x 2  256 bytes\n"));
  EXPECT_THAT(text, HasSubstr("  output.weight      Q8_0  32 x 2  68 bytes\n"));
  EXPECT_THAT(text, HasSubstr("total: 128 parameters, 324 bytes, 20.250 bits per weight\n"));
}

// Of 4 experts 2 are used: 1000 parameters beside them, 2 of 4 x 64 of each kind.
TEST(Describe, AMixtureHasActiveParameters) {
  const ScratchFile file("mixture.gguf");
  const std::vector<float> zeros(1000);
  const auto bytes = [&](size_t n) { return std::as_bytes(std::span(zeros).first(n)); };
  const auto described = [&](int64_t n_used, bool is_old) {
    GgufWriter writer;
    writer.set_string("general.architecture", "some");
    writer.set_u32("some.block_count", 2);
    writer.set_u32("some.nextn_predict_layers", 1);
    writer.set_u32("some.expert_count", 4);
    writer.set_u32("some.expert_used_count", uint32_t(n_used));
    writer.add_tensor("output.weight", Type::F32, {100, 8}, bytes(800));
    writer.add_tensor("blk.0.ffn_up_shexp.weight", Type::F32, {100, 2}, bytes(200));
    for (const char* kind : {"up", "gate"}) {
      if (!is_old) {
        writer.add_tensor(fmt::format("blk.0.ffn_{}_exps.weight", kind), Type::F32, {8, 8, 4}, bytes(256));
        continue;
      }
      for (int i = 0; i < 4; ++i)
        writer.add_tensor(fmt::format("blk.0.ffn_{}.{}.weight", kind, i), Type::F32, {8, 8}, bytes(64));
    }
    writer.add_tensor("blk.1.ffn_up.weight", Type::F32, {100, 1}, bytes(100));  // guesses at tokens
    writer.write(file.path);
    return json::parse(json_of(file.path));
  };
  for (const bool is_old : {false, true}) {
    EXPECT_EQ(described(2, is_old).at("parameters"), 1612);
    EXPECT_EQ(described(2, is_old).at("active_parameters"), 1256);
    EXPECT_THAT(describe_as_text(file.path), HasSubstr("\nactive: 1256 parameters for each token\n"));
    EXPECT_EQ(described(4, is_old).at("active_parameters"), 1512);
  }
  EXPECT_FALSE(described(5, false).contains("active_parameters"));
}

TEST(Describe, SafetensorsFilesAreToldByTheirContents) {
  const std::string path = LORA_SOURCE_DIR "/tests/golden/quant-q4_k.safetensors";
  const json j = json::parse(json_of(path));
  EXPECT_EQ(j.at("format"), "safetensors");
  EXPECT_TRUE(j.at("version").is_null());
  EXPECT_EQ(j.at("metadata"), (json{{"rows_x_cols", "24x256"}, {"type", "Q4_K"}}));
  EXPECT_EQ(j.at("tensors").at(0),
            (json{{"name", "values"}, {"type", "F32"}, {"shape", {24, 256}}, {"bytes", 24576}}));
  EXPECT_THAT(describe_as_text(path), HasSubstr("  values  F32  24 x 256  24576 bytes\n"));
}

TEST(Describe, OtherFilesAreRefused) {
  const ScratchFile text("text.txt", "Call me Ishmael."), empty("empty", "");
  EXPECT_THAT(error_of([&] { describe_as_text(text.path); }),
              HasSubstr(text.path + ": neither a GGUF nor a safe"));
  EXPECT_THAT(error_of([&] { json_of(empty.path); }), HasSubstr("it is empty"));
  EXPECT_THAT(error_of([&] { json_of("/nonexistent"); }), HasSubstr("/nonexistent: cannot open"));
}

TEST(Describe, AVocabularyWithoutTensorsHasNoBitsPerWeight) {
  const ScratchFile file("vocab.gguf");
  GgufWriter writer;
  writer.set_string("general.architecture", "llama");
  writer.write(file.path);
  EXPECT_TRUE(json::parse(json_of(file.path)).at("bits_per_weight").is_null());
  EXPECT_THAT(describe_as_text(file.path), HasSubstr("total: 0 parameters\n"));
}

}  // namespace describe_test
}  // namespace lora
