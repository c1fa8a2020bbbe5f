// For tables of what can be wrong with files and flags: each row either works, or is one clear error that
// leaves no file behind.
#pragma once

#include <span>

#include "cli_test.h"

namespace lora::test {

inline constexpr int kWorks = 0, kFailed = 1, kUsage = 2;
using Args = std::vector<std::string>;
using Make = std::function<void(const Folder&)>;

struct Case {
  std::string name;
  Make make;  // files beside model.gguf and text.txt
  Args command;
  int status = kFailed;
  std::string says;  // in the error, or in what is printed where it works
  std::vector<std::pair<std::string, std::string>> environment = {};
};
inline void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

inline const Args kGenerate = {"generate", "-m", "model.gguf", "-p", "The ship", "-n", "2", "-s", "1"};
const Args kEval = {"eval", "-m", "model.gguf", "-p", "The ship sailed to the north and was not seen again."};

inline void nothing(const Folder&) {}

inline Make file(const std::string& name, const std::string& text) {
  return [=](const Folder& f) { f.write(name, text); };
}

// The bundled model's first n bytes, n counted from the place of `mark` in it.
inline Make truncated(const std::string& mark, size_t n) {
  return [=](const Folder& f) {
    const std::string model = read_file(kBundledModel);
    f.write("bad.gguf", model.substr(0, model.find(mark) + n));
  };
}

inline Make edited(const ModelEdits& edits) {
  return [=](const Folder& f) { write_edited_model(f.at("bad.gguf"), edits); };
}

// A version 3 file whose version is replaced by these bytes.
inline Make with_version(const std::string& bytes) {
  return [=](const Folder& f) { f.write("bad.gguf", read_file(kBundledModel).replace(4, 4, bytes)); };
}

// A well-formed adapter of rank 2 for one tensor.
inline Make adapter(const std::string& architecture, int64_t n_embd) {
  return [=](const Folder& f) {
    const std::vector<float> zeros(size_t(2 * n_embd));
    GgufWriter writer;
    writer.set_string("general.type", "adapter");
    writer.set_string("general.architecture", architecture);
    writer.set_string("adapter.type", "lora");
    writer.set_f32("adapter.lora.alpha", 2);
    const auto data = std::as_bytes(std::span(zeros));
    writer.add_tensor("blk.0.attn_q.weight.lora_a", Type::F32, {n_embd, 2}, data);
    writer.add_tensor("blk.0.attn_q.weight.lora_b", Type::F32, {2, n_embd}, data);
    writer.write(f.at("adapter.gguf"));
  };
}

// adapter.gguf and saved.gguf, a checkpoint, as the program writes them; made once.
inline void trained(const Folder& f) {
  static const Folder& made = []() -> const Folder& {
    static const Folder folder;
    folder.write("text.txt", ship_sentences());
    const RunResult run =
        folder.lora(kFinetune + Args{"--lora-out", "adapter.gguf", "--checkpoint-out", "saved.gguf"});
    EXPECT_EQ(run.status, 0) << run.err;
    return folder;
  }();
  for (const char* name : {"adapter.gguf", "saved.gguf"})
    std::filesystem::copy_file(made.at(name), f.at(name));
}

// It works as it should, or is one clear error, and nothing is left behind then.
inline void expect_case(const Case& c) {
  const Folder folder;
  folder.write("text.txt", ship_sentences());
  c.make(folder);
  const auto text = [&] {
    return std::filesystem::is_regular_file(folder.at("text.txt")) ? folder.read("text.txt") : "";
  };
  const std::string text_before = text();
  const std::set<std::string> before = folder.names();
  const bool is_link = std::filesystem::is_symlink(folder.at("model.gguf"));
  const RunResult run = folder.lora(c.command, {.environment = c.environment});
  if (c.status == kWorks) {
    EXPECT_EQ(run.status, 0) << run.err;
    EXPECT_THAT(run.out + run.err, testing::HasSubstr(c.says));
    for (const std::string& name : folder.names()) EXPECT_THAT(name, testing::Not(testing::EndsWith(".tmp")));
  } else {
    expect_error(run, c.status, c.says);
    EXPECT_EQ(folder.names(), before);
  }
  EXPECT_EQ(text(), text_before);
  EXPECT_EQ(std::filesystem::file_size(folder.at("model.gguf")), std::filesystem::file_size(kBundledModel));
  EXPECT_EQ(std::filesystem::is_symlink(folder.at("model.gguf")), is_link);
}

}  // namespace lora::test
