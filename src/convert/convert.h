// A Hugging Face folder to a GGUF file that llama.cpp and this program load.
//
// Tensors are read, computed and written in pieces of some rows, by all threads at once: of the model's
// weights no more is in memory than a piece per thread, and with pytorch .bin files one tensor. Files are
// written beside their names and renamed at the end, all or none.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace lora {

struct ConvertOptions {
  std::string folder;
  std::string outfile;           // "": NAME-TYPE.gguf in the current folder, NAME of `folder`
  std::string outtype = "auto";  // f32, f16, bf16, q8_0; auto: f16 if the weights are F16, else bf16
  int n_threads = 0;             // 0: physical cores
  bool vocab_only = false;
  uint64_t split_max_bytes = 0;  // of the tensors in one file; 0: one file
};

struct ConvertEvents {
  std::function<void(std::string_view line)> say = [](std::string_view) {};
  std::function<void(uint64_t done, uint64_t total)> on_progress = [](uint64_t, uint64_t) {
  };  // bytes written
  std::function<bool()> should_stop = [] { return false; };
};

struct ConvertResult {
  std::vector<std::string> files;
  int64_t n_tensors = 0, n_vocab = 0;
  std::string type, architecture;
  uint64_t bytes_read = 0, bytes_written = 0;  // of tensors
  bool stopped = false;                        // then there are no files
};

// What --outtype may be.
std::vector<std::string> convert_types();

// What "architectures" of a config.json may be.
std::vector<std::string_view> convert_classes();

// Error for anything in the folder that cannot be converted; then there is no file, whole or half.
ConvertResult convert(const ConvertOptions& options, const ConvertEvents& events);

}  // namespace lora
