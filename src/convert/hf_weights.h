// The weights of a Hugging Face folder: model.safetensors or pytorch_model.bin, one file or the several that
// an index names. Nothing is read but what is asked for.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "arch/hf.h"
#include "gguf/pytorch.h"
#include "gguf/safetensors.h"

namespace lora {

struct HfTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  size_t file = 0, index = 0;  // where it lies
};

class HfWeights {
 public:
  // Error naming the file and what is wrong: none there, a shard missing or broken, a tensor that is in two
  // files, or that the index puts elsewhere, and a LoRA or trained modules of PEFT among the weights. The
  // names that PEFT gives to the weights of a model that has adapters
  // ("base_model.model.X.base_layer.weight") become the model's own; that, and which files are left out, is
  // said.
  static HfWeights open(
      const std::string& folder, const std::function<void(std::string_view)>& say = [](std::string_view) {});

  const std::map<std::string, HfTensor, std::less<>>& tensors() const { return tensors_; }
  const HfTensor* find(std::string_view name) const;
  // Of a family's embedding, norm and output. Where the output is, or would be: "lm_head", within some models
  // "language_model.lm_head".
  std::string output_module(std::span<const HfModule> root) const;
  // What the names of the language model's tensors begin with: "model."; nullopt if there is no embedding.
  std::optional<std::string> prefix(std::span<const HfModule> root) const;
  // Of the same type, shape and bytes. Not thread-safe.
  bool are_equal(const HfTensor& a, const HfTensor& b) const;
  const std::string& path_of(const HfTensor& tensor) const;
  uint64_t file_bytes() const { return file_bytes_; }

  // The bytes of a tensor: in the mapped file, or read into `buffer`. Not thread-safe.
  SafeTensor load(const HfTensor& tensor, std::vector<std::byte>& buffer) const;
  // The tensor is not needed for now: what is mapped of it leaves this process's memory.
  void release(const HfTensor& tensor) const;

 private:
  std::vector<std::variant<SafeTensors, PytorchFile>> files_;
  std::map<std::string, HfTensor, std::less<>> tensors_;
  uint64_t file_bytes_ = 0;
};

}  // namespace lora
