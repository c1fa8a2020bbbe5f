// For tests of the whole program: a folder to run it in, files to feed it, and what an error looks like.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "gguf/gguf.h"
#include "run_program.h"

namespace lora::test {

inline const std::string kBundledModel = LORA_SOURCE_DIR "/models/tiny-q8_0.gguf";

// Discarded where it is none. (A test that calls the parser itself takes a second longer to compile.)
nlohmann::ordered_json parse_json(const std::string& text);

RunResult lora(std::vector<std::string> args, const RunOptions& options = {});

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b);

std::vector<std::string> lines_of(const std::string& text);

// Whether a terminal shows the text as it is: no control characters but line feeds and tabs, none of
// Unicode's that turn text round, and no more than a message takes in a line.
void expect_readable(const std::string& text);

// The command failed: nothing on stdout, and of stderr's lines the last one, and it alone, is the error.
void expect_error(const RunResult& run, int status, const std::string& what);

std::string read_file(const std::filesystem::path& path);

void write_file(const std::filesystem::path& path, std::string_view text);

// A folder of its own, removed at the end, with the bundled model in it as model.gguf.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string at(const std::string& name) const { return path + "/" + name; }
  std::string read(const std::string& name) const { return read_file(at(name)); }
  void write(const std::string& name, std::string_view text) const { write_file(at(name), text); }
  bool has(const std::string& name) const;
  std::set<std::string> names() const;
  // The program, run in this folder.
  RunResult lora(const std::vector<std::string>& args, RunOptions options = {}) const;

  std::string path;
};

// 40 distinct sentences of equal form, each after "<s>".
std::string ship_sentences(const std::string& before = "<s>");

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
void write_edited_model(const std::string& path, const ModelEdits& edits);

// The bundled model, but the word's last token has an embedding that is not a number.
void write_model_with_a_row_of_nan(const Folder& folder, const std::string& name, const std::string& word);

void write_vocabulary(const std::string& path);

}  // namespace lora::test
