// A decoder-only transformer over a mapped GGUF: weights stay quantized in the file; only norms
// and biases are copied to f32.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/gguf.h"
#include "model/config.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace lora {

struct Layer {
  Norm attn_norm, ffn_norm;
  Linear q, k, v, o;      // attention
  Linear gate, up, down;  // MLP
};

// The linear layers of a block: their names in GGUF, where they are kept, and their shape. One list for
// loading, adapters and gradients.
struct LinearRow {
  std::string_view name;  // "blk.N." name ".weight"
  Linear Layer::*member;
  int64_t (*n_out)(const ModelConfig&);
  int64_t (*n_in)(const ModelConfig&);
};
std::span<const LinearRow> linear_rows();

// What was loaded stays as it is. What is attached (adapters, trained norms) lies beside it, and is its
// owner's.
struct Model {
  Gguf gguf;
  ModelConfig config;
  Embedding embedding;
  std::vector<Layer> layers;
  Norm output_norm;
  Linear output;  // the embedding's table where the file has no output.weight
  bool tied = false;
  std::vector<Buffer<float>> biases;

  // The linear layer that a tensor belongs to ("blk.3.attn_q.weight", "output.weight"); nullptr for
  // others, and for output.weight where it is tied.
  Linear* find_linear(std::string_view tensor);
  const Linear* find_linear(std::string_view tensor) const;
  // "blk.3.attn_norm.weight", "blk.3.ffn_norm.weight", "output_norm.weight"; nullptr for others.
  Norm* find_norm(std::string_view tensor);
};

// Maps the file and checks every tensor's presence, type and shape. Error naming the file and tensor; a
// tensor that the architecture does not know is an error too, since leaving it out would change the model.
Model load_model(const std::string& path, const ConfigOverrides& overrides = {});

}  // namespace lora
