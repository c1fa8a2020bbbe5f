// LoRA adapters from one form into another: a folder of PEFT or MLX, a file of the 2023 `ggla` format or an
// adapter GGUF becomes an adapter GGUF or a PEFT folder. What it adds to each weight stays the same.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace lora {

struct ConvertLoraOptions {
  std::string input;
  std::string base;     // model: GGUF file or Hugging Face folder; "": what the adapter's folder tells of it
  std::string outfile;  // "": NAME-lora-TYPE.gguf in the current folder, NAME of `input`
  std::string to_peft;  // folder to write in place of a GGUF file
  std::string outtype = "f32";    // f32, f16
  int n_threads = 0;              // to compute with; 0: physical_cores()
  bool skip_unsupported = false;  // leave out what an adapter cannot express, with a warning
};

struct ConvertLoraResult {
  std::string path, architecture, type;
  int64_t n_tensors = 0, min_rank = 0, max_rank = 0;
  float alpha = 0;
};

// Error for anything that cannot be converted; then nothing is written.
ConvertLoraResult convert_lora(const ConvertLoraOptions& options,
                               const std::function<void(std::string_view line)>& say);

}  // namespace lora
