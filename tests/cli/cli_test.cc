#include "cli_test.h"

#include <cstring>
#include <sstream>

#include "base/process.h"

namespace lora::test {

nlohmann::ordered_json parse_json(const std::string& text) {
  return nlohmann::ordered_json::parse(text, nullptr, false);
}

RunResult lora(std::vector<std::string> args, const RunOptions& options) {
  args.insert(args.begin(), LORA_PROGRAM);
  return run_program(args, options);
}

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

void expect_readable(const std::string& text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    ASSERT_TRUE(c == '\n' || c == '\t' || (byte >= 0x20 && byte != 0x7f)) << int(byte) << " in: " << text;
  }
  for (const char* hidden : {"\xc2\x9b", "\xe2\x80\xae", "\xe2\x81\xa6"}) {
    EXPECT_EQ(text.find(hidden), text.npos) << text;
  }
  for (const std::string& line : lines_of(text)) EXPECT_LE(line.size(), 510u) << line;
}

void expect_error(const RunResult& run, int status, const std::string& what) {
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

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), std::streamsize(text.size()));
}

std::string ship_sentences(const std::string& before) {
  std::string text;
  for (int i = 0; i < 40; ++i) {
    text += before + "The ship number " + std::to_string(i) + " sailed " + std::to_string(3 * i) +
            " miles north.";
  }
  return text;
}

void write_edited_model(const std::string& path, const ModelEdits& edits) {
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

void write_model_with_a_row_of_nan(const Folder& folder, const std::string& name, const std::string& word) {
  const RunResult tokens = folder.lora({"tokenize", "-m", "model.gguf", "--json", "--no-bos", "-p", word});
  const int64_t token = parse_json(tokens.out)["ids"].back();
  write_edited_model(folder.at(name), {.edit_data = [&](const std::string& tensor, std::string& data) {
                       if (tensor != "token_embd.weight") return;
                       const size_t row_bytes = 256 / 32 * 34;  // Q8_0: an f16 scale and 32 values per block
                       const uint16_t nan = 0x7e00;
                       std::memcpy(data.data() + size_t(token) * row_bytes, &nan, sizeof nan);
                     }});
}

void write_vocabulary(const std::string& path) {
  write_edited_model(path, {.tensors = false});
}

Folder::Folder() {
  static int n = 0;
  path = testing::TempDir() + "lora_cli_" + std::to_string(process_id()) + "_" + std::to_string(n++);
  std::filesystem::create_directories(path);
  std::error_code error;
  std::filesystem::create_symlink(kBundledModel, at("model.gguf"), error);
  if (error) std::filesystem::copy_file(kBundledModel, at("model.gguf"));  // links are not for everybody
}

Folder::~Folder() {
  std::filesystem::remove_all(path);
}

bool Folder::has(const std::string& name) const {
  return std::filesystem::exists(at(name));
}

std::set<std::string> Folder::names() const {
  std::set<std::string> result;
  for (const auto& entry : std::filesystem::directory_iterator(path))
    result.insert(entry.path().filename().string());
  return result;
}

RunResult Folder::lora(const std::vector<std::string>& args, RunOptions options) const {
  options.directory = path;
  return test::lora(args, options);
}

}  // namespace lora::test
