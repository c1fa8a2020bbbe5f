// For tests of the whole program: a folder to run it in, files to feed it, and what an error looks like.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "gguf/gguf.h"
#include "run_program.h"

namespace lora::test {

inline const std::string kBundledModel = LORA_SOURCE_DIR "/models/tiny-q8_0.gguf";

inline RunResult lora(std::vector<std::string> args, const RunOptions& options = {}) {
  args.insert(args.begin(), LORA_PROGRAM);
  return run_program(args, options);
}

inline std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// Whether a terminal shows the text as it is: no control characters but line feeds and tabs, none of
// Unicode's that turn text round, and no more than a message takes in a line.
inline void expect_readable(const std::string& text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    ASSERT_TRUE(c == '\n' || c == '\t' || (byte >= 0x20 && byte != 0x7f)) << int(byte) << " in: " << text;
  }
  for (const char* hidden : {"\xc2\x9b", "\xe2\x80\xae", "\xe2\x81\xa6"}) {
    EXPECT_EQ(text.find(hidden), text.npos) << text;
  }
  for (const std::string& line : lines_of(text)) EXPECT_LE(line.size(), 510u) << line;
}

// The command failed: nothing on stdout, and of stderr's lines the last one, and it alone, is the error.
inline void expect_error(const RunResult& run, int status, const std::string& what) {
  EXPECT_EQ(run.status, status) << run.err;
  const std::vector<std::string> lines = lines_of(run.err);
  int n_errors = 0;
  for (const std::string& line : lines) n_errors += line.starts_with("error: ");
  EXPECT_EQ(n_errors, 1) << run.err;
  ASSERT_FALSE(lines.empty());
  EXPECT_THAT(lines.back(), testing::StartsWith("error: "));
  EXPECT_THAT(lines.back(), testing::HasSubstr(what));
  EXPECT_THAT(run.err, testing::EndsWith("\n"));
  expect_readable(run.err);
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), std::streamsize(text.size()));
}

// A folder of its own, removed at the end, with the bundled model in it as model.gguf.
class Folder {
 public:
  Folder() {
    static int n = 0;
    path = testing::TempDir() + "lora_cli_" + std::to_string(getpid()) + "_" + std::to_string(n++);
    std::filesystem::create_directories(path);
    std::filesystem::create_symlink(kBundledModel, at("model.gguf"));
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string at(const std::string& name) const { return path + "/" + name; }
  std::string read(const std::string& name) const { return read_file(at(name)); }
  void write(const std::string& name, std::string_view text) const { write_file(at(name), text); }
  bool has(const std::string& name) const { return std::filesystem::exists(at(name)); }
  std::set<std::string> names() const {
    std::set<std::string> result;
    for (const auto& entry : std::filesystem::directory_iterator(path))
      result.insert(entry.path().filename());
    return result;
  }
  // The program, run in this folder.
  RunResult lora(const std::vector<std::string>& args, RunOptions options = {}) const {
    options.directory = path;
    return test::lora(args, options);
  }

  std::string path;
};

// 40 distinct sentences of equal form, each after "<s>".
inline std::string ship_sentences(const std::string& before = "<s>") {
  std::string text;
  for (int i = 0; i < 40; ++i) {
    text += before + "The ship number " + std::to_string(i) + " sailed " + std::to_string(3 * i) +
            " miles north.";
  }
  return text;
}

// A short run on text.txt that resumes nothing; what is given later wins.
inline const std::vector<std::string> kFinetune = {
    "finetune", "-m",    "model.gguf", "--train-data", "text.txt", "--sample-start", "<s>", "--checkpoint-in",
    "",         "--ctx", "32",         "--batch",      "2",        "--seed",         "5",   "--adam-iter",
    "2"};

// Writes a copy of the bundled model. edit_value: false leaves the key out; edit_data sees a tensor's bytes.
struct ModelEdits {
  std::function<bool(const std::string& key, GgufValue& value)> edit_value = {};
  std::function<void(const std::string& name, std::string& data)> edit_data = {};
  bool tensors = true;
};
inline void write_edited_model(const std::string& path, const ModelEdits& edits) {
  const Gguf model = Gguf::open(kBundledModel);
  GgufWriter writer;
  for (auto [key, value] : model.values()) {
    if (!edits.edit_value || edits.edit_value(key, value)) writer.set(key, value);
  }
  std::vector<std::string> copies;
  copies.reserve(model.tensors().size());
  for (const GgufTensor& tensor : model.tensors()) {
    if (!edits.tensors) break;
    std::string& data =
        copies.emplace_back(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
    if (edits.edit_data) edits.edit_data(tensor.name, data);
    writer.add_tensor(tensor.name, tensor.type, {tensor.ne, tensor.ne + tensor.n_dims},
                      std::as_bytes(std::span(data)));
  }
  writer.write(path);
}

// The bundled model, but the word's last token has an embedding that is not a number.
inline void write_model_with_a_row_of_nan(const Folder& folder, const std::string& name,
                                          const std::string& word) {
  const RunResult tokens = folder.lora({"tokenize", "-m", "model.gguf", "--json", "--no-bos", "-p", word});
  const int64_t token = nlohmann::json::parse(tokens.out)["ids"].back();
  write_edited_model(folder.at(name), {.edit_data = [&](const std::string& tensor, std::string& data) {
                       if (tensor != "token_embd.weight") return;
                       const size_t row_bytes = 256 / 32 * 34;  // Q8_0: an f16 scale and 32 values per block
                       const uint16_t nan = 0x7e00;
                       std::memcpy(data.data() + size_t(token) * row_bytes, &nan, sizeof nan);
                     }});
}

inline void write_vocabulary(const std::string& path) {
  write_edited_model(path, {.tensors = false});
}

}  // namespace lora::test
