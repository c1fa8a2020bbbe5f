// A decoder-only transformer over a mapped GGUF: weights stay quantized in the file; only norms
// and biases are copied to f32.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arch/config.h"
#include "gguf/gguf.h"
#include "model/block.h"
#include "nn/embedding.h"
#include "nn/head.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace lora {

class TensorSource;  // model/build.h

// How many slots of keys and values layers share (AttentionForm::kv_slot), and whether layers read what the
// embedding gave (nn/per_layer_input.h).
struct Model;
size_t kv_slots(const Model& model);
bool reads_embedding(const Model& model);
// Whether any layer keeps keys and values, or latents in their place.
bool attends(const Model& model);

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

  Head head() const { return {output, config.logit_scale, config.logit_softcap}; }
  // The linear layers that are rows of a tensor ("blk.3.attn_q.weight", "output.weight"), in the order of its
  // rows: several where it is fused, none for other tensors, and for output.weight where it is tied.
  std::vector<Linear*> find_linears(std::string_view tensor);
  std::vector<const Linear*> find_linears(std::string_view tensor) const;
  // "blk.3.attn_norm.weight", "blk.3.ffn_norm.weight", "output_norm.weight"; nullptr for others.
  Norm* find_norm(std::string_view tensor);
  const Norm* find_norm(std::string_view tensor) const { return const_cast<Model*>(this)->find_norm(tensor); }
};

// Names of the tensors that blocks' linear layers are rows of ("attn_q"), each once, in the order in which
// they compute.
std::vector<std::string_view> block_tensors(const Model& model);
// Which of them are routers and experts: adapters leave those alone unless they are asked for.
std::vector<std::string_view> routed_tensors(const Model& model);

// Embedding, layers, norm and output of model.config, from tensors of any origin. `tied`: the embedding's
// table is the output.
void build_model(Model& model, bool tied, TensorSource& source);

// Rotary tables, as layers refer to them by number. Error for positions beyond a model's table of them.
std::vector<RopeTable> make_rope_tables(const ModelConfig& config, int64_t n_positions);
int64_t rope_table_bytes(const ModelConfig& config, int64_t n_positions);

// Maps the file and checks every tensor's presence, type and shape. Error naming the file and tensor; a
// tensor that the architecture does not know is an error too, since leaving it out would change the model.
Model load_model(const std::string& path, const ConfigOverrides& overrides = {});

}  // namespace lora
