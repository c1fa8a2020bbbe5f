// What files, names and models hold reaches a terminal as printable text, in lines that end.
#include "cli_test.h"

namespace lora::test {
namespace terminal_test {

using Args = std::vector<std::string>;
using testing::HasSubstr;

// Sets a terminal's title, clears it, turns text round; C1 controls, a bell, and no UTF-8.
const std::string kEvil = "\x1b]0;PWNED\x07\x1b[2J\xe2\x80\xae\xc2\x9b\xff\r\nerror: fake";

class Terminal : public testing::Test {
 protected:
  Folder folder;

  void expect_refused(const Args& args, const std::string& what, int status = 1) const {
    const RunResult run = folder.lora(args);
    expect_error(run, status, what);
    EXPECT_EQ(lines_of(run.err).size(), 1u) << run.err;
  }
};

TEST_F(Terminal, TextOfAModelsFileInErrors) {
  const auto with = [&](const std::string& key, const std::string& value) {
    write_edited_model(folder.at("bad.gguf"), {.edit_value = [&](const std::string& k, GgufValue& v) {
                         if (k == key) v = {GgufValueType::string, {}, value};
                         return true;
                       }});
    return Args{"generate", "-m", "bad.gguf", "-p", "The", "-n", "1"};
  };
  expect_refused(with("general.architecture", kEvil), "architecture '\\x1b]0;PWNED\\x07");
  expect_refused(with("general.type", kEvil), "general.type is '\\x1b");
  expect_refused(with("tokenizer.ggml.model", kEvil), "tokenizer");
  expect_refused(with("general.architecture", std::string(1 << 20, 'a')), "' is not supported");
  GgufWriter writer;
  writer.set_string("general.architecture", "llama");
  writer.set_u32("llama.block_count", 1);
  writer.set_string("llama.rope.scaling.type" + kEvil, kEvil);
  const std::vector<std::byte> data(16);
  writer.add_tensor(kEvil, Type::F32, {4}, data);
  writer.write(folder.at("names.gguf"));
  const RunResult shown = folder.lora({"inspect", "names.gguf"});
  EXPECT_EQ(shown.status, 0) << shown.err;
  expect_readable(shown.out);
  const RunResult json = folder.lora({"inspect", "names.gguf", "--json"});
  for (const char c : json.out) EXPECT_TRUE(c == '\n' || (c >= ' ' && c != '\x7f') || (c & '\x80')) << int(c);
  EXPECT_THAT(json.out, HasSubstr("\\u202e\\u009b"));
  EXPECT_EQ(parse_json(json.out)["tensors"].size(), 1u);
}

TEST_F(Terminal, TextOfOtherFilesInErrors) {
  folder.write("key.toml", "no" + kEvil.substr(0, 12) + "key = 1\n");
  expect_refused({"finetune", "--config", "key.toml"}, "unknown flag", 2);
  folder.write("value.toml", "ctx = \"" + kEvil.substr(0, 12) + "\"\n");
  expect_refused({"finetune", "--config", "value.toml"}, "--ctx", 2);
  folder.write("text.jsonl", R"({"\u001b[2J\u202e": 1})");
  const RunResult records = folder.lora(kFinetune + Args{"--train-data", "text.jsonl"});
  EXPECT_EQ(records.status, 1);
  expect_readable(records.err);
  std::filesystem::create_directory(folder.at("peft"));
  folder.write("peft/adapter_config.json", R"({"peft_type": "\u001b[2J"})");
  folder.write("peft/adapter_model.safetensors", "");
  expect_refused({"generate", "-m", "model.gguf", "-p", "The", "--lora", "peft"}, "peft_type");
  folder.write("imatrix.dat", std::string("\1\0\0\0\5\0\0\0\x1b[2J\xff\1\0\0\0\1\0\0\0\0\0\xc0\x7f", 25));
  expect_refused({"quantize", "model.gguf", "q.gguf", "q4_0", "--imatrix", "imatrix.dat"}, "imatrix.dat");
}

TEST_F(Terminal, WhatStandsOnTheCommandLine) {
  expect_refused({kEvil}, "unknown command", 2);
  expect_refused({"generate", "--" + kEvil}, "unknown flag", 2);
  expect_refused({"inspect", kEvil + ".gguf"},
                 is_posix() ? "cannot open: No such file" : "cannot open: Windows allows no such name");
  expect_refused({"generate", "-m", "model.gguf", "-p", "a", "--temp", kEvil}, "--temp", 2);
  // The beginning of a long name and the reason are both there.
  const std::string deep = "begin" + std::string(3000, '/') + "end.gguf";
  expect_refused({"inspect", deep}, "error: begin///");
  expect_refused({"inspect", deep}, "end.gguf: cannot open: No such file or directory");
  expect_refused({"generate", "-m", "model.gguf", "-p", "a", "--seed", std::string(100000, '9')},
                 "found '999", 2);
}

}  // namespace terminal_test
}  // namespace lora::test
