// What files, names and models hold reaches a terminal as printable text, in lines that end.
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli_test.h"

namespace lora::test {
namespace {

using Args = std::vector<std::string>;
using testing::HasSubstr;
using testing::Not;

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
  expect_refused({"inspect", kEvil + ".gguf"}, "No such file");
  expect_refused({"generate", "-m", "model.gguf", "-p", "a", "--temp", kEvil}, "--temp", 2);
  // The beginning of a long name and the reason are both there.
  const std::string deep = "begin" + std::string(3000, '/') + "end.gguf";
  expect_refused({"inspect", deep}, "error: begin///");
  expect_refused({"inspect", deep}, "end.gguf: cannot open: No such file or directory");
  expect_refused({"generate", "-m", "model.gguf", "-p", "a", "--seed", std::string(100000, '9')},
                 "found '999", 2);
}

// The program's standard output is a terminal.
std::string shown_on_terminal(const Folder& folder, const Args& args) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  EXPECT_TRUE(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
  const std::string name = ptsname(terminal);
  // Kept open here, so that what was written stays to be read.
  const int kept = open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  std::string command = "exec \"$0\" \"$@\" > " + name;
  const RunResult run =
      run_program(Args{"/bin/sh", "-c", command, LORA_PROGRAM} + args, {.directory = folder.path});
  EXPECT_EQ(run.status, 0) << run.err;
  std::string shown(1 << 16, '\0');
  fcntl(terminal, F_SETFL, O_NONBLOCK);
  const ssize_t n = read(terminal, shown.data(), shown.size());
  shown.resize(n > 0 ? size_t(n) : 0);
  close(kept);
  close(terminal);
  return shown;
}

TEST_F(Terminal, GeneratedTextIsPrintableThereAndUnchangedInAPipe) {
  const Args args = {"generate", "-m", "model.gguf", "-p", "The\x1b[2J\tship\nis", "-n", "1", "--temp", "0"};
  const RunResult run = folder.lora(args);
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("The\x1b[2J\tship\nis"));
  const std::string shown = shown_on_terminal(folder, args);
  EXPECT_THAT(shown, HasSubstr("The\\x1b[2J"));
  EXPECT_THAT(shown, Not(HasSubstr("\x1b")));
  const std::string json = shown_on_terminal(
      folder, {"tokenize", "-m", "model.gguf", "--json", "-p", "a\x7f\xc2\x9b\xe2\x80\xae"});
  EXPECT_THAT(json, HasSubstr("\"pieces\""));
  EXPECT_THAT(json, Not(HasSubstr("\x7f")));
}

// What the program writes to its standard error, a terminal of so many columns.
std::string messages_on_terminal(const Folder& folder, const Args& args, int columns) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  EXPECT_TRUE(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
  const std::string name = ptsname(terminal);
  const int kept = open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  winsize size = {};
  size.ws_col = static_cast<unsigned short>(columns);
  EXPECT_EQ(ioctl(kept, TIOCSWINSZ, &size), 0);
  std::string shown;
  std::atomic<bool> ended = false;
  std::thread reader([&] {  // a terminal holds little of what nobody reads
    pollfd readable = {terminal, POLLIN, 0};
    for (bool last = false; !last;) {
      last = ended;
      while (poll(&readable, 1, 20) > 0) {
        char buffer[4096];
        const ssize_t n = read(terminal, buffer, sizeof buffer);
        if (n <= 0) break;
        shown.append(buffer, size_t(n));
      }
    }
  });
  const std::string command = "exec \"$0\" \"$@\" 2> " + name;
  const RunResult run =
      run_program(Args{"/bin/sh", "-c", command, LORA_PROGRAM} + args, {.directory = folder.path});
  ended = true;
  reader.join();
  EXPECT_EQ(run.status, 0) << shown;
  close(kept);
  close(terminal);
  std::erase(shown, '\r');
  return shown;
}

TEST_F(Terminal, MessagesBreakAtWordsAndEvaluationsShowTheirProgress) {
  folder.write("text.txt", ship_sentences());
  const Args args = kFinetune + Args{"--val-split", "0.2", "--lora-out", "l.gguf", "--checkpoint-out", ""};
  const std::string shown = messages_on_terminal(folder, args, 60);
  EXPECT_THAT(shown, HasSubstr("] evaluating 2/8 "));
  EXPECT_THAT(shown, HasSubstr("] 2/2 epoch "));
  // The longest message: its lines end at words, and all but the first are indented.
  const size_t begin = shown.find("memory: needs "), end = shown.find("\n", shown.find("threads and tables"));
  ASSERT_TRUE(begin != shown.npos && end != shown.npos) << shown;
  const std::vector<std::string> lines = lines_of(shown.substr(begin, end - begin));
  EXPECT_GE(lines.size(), 3u);
  for (const std::string& line : lines) {
    EXPECT_LT(line.size(), 60u) << line;
    EXPECT_EQ(line.starts_with("  "), &line != &lines.front()) << line;
  }
  const RunResult piped = folder.lora(args);
  EXPECT_THAT(piped.err, testing::ContainsRegex("\nmemory: needs [^\n]* threads and tables "));
  EXPECT_THAT(piped.err, Not(HasSubstr("evaluating")));
}

}  // namespace
}  // namespace lora::test
