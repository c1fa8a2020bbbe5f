// What an adapter has to know of its base model: architecture, head counts, shapes. From a GGUF file or from
// the config.json of a Hugging Face folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/adapter.h"
#include "convert/hf_config.h"
#include "gguf/gguf.h"

namespace lora {

struct LoraBase {
  std::string path;
  PeftBase facts;
  std::vector<std::string> files;    // all that is the model: files and folders
  int64_t n_layer = 0, n_vocab = 0;  // n_vocab: rows of the embedding
  std::optional<Gguf> gguf;          // one of the two
  std::optional<HfConfig> config;

  // Of a tensor of the model as GGUF; nullopt if it has no such matrix.
  std::optional<PairShape> shape(std::string_view tensor) const;
  // Of a GGUF file for as long as this lies where it is. Error where the weights are not there, as beside a
  // config.json alone. Not thread-safe.
  BaseWeight weight() const;
};

// Error naming the path if it is neither, or holds an adapter itself.
LoraBase open_lora_base(const std::string& path);
LoraBase lora_base_of(const HfConfig& config);

}  // namespace lora
