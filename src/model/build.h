// From what a layer is made of (arch/spec.h) to the layer, over tensors of any origin.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arch/config.h"
#include "base/buffer.h"
#include "model/block.h"

namespace lora {

// Where tensors come from: a file, or memory. Names are whole: "blk.3.attn_q.weight".
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  // Error if it is not there, or has another shape.
  virtual MatrixView matrix(const std::string& name, int64_t n_out, int64_t n_in) = 0;
  // Decoded. nullopt, or with `required` an error, if it is not there.
  virtual std::optional<Buffer<float>> vector(const std::string& name, int64_t n, bool required) = 0;
};

// Biases are added to `biases`, which linear layers refer to. Error as the source gives it.
Layer build_layer(const LayerSpec& spec, int64_t i, const ModelConfig& config, TensorSource& source,
                  std::vector<Buffer<float>>& biases);
// `prefix`: "blk.3.", or nothing. `n_rows`: of the whole tensor.
Linear build_linear(const LinearSpec& spec, const std::string& prefix, int64_t n_rows, TensorSource& source,
                    std::vector<Buffer<float>>& biases);
Norm build_norm(const NormSpec& spec, const std::string& prefix, float eps, TensorSource& source);

}  // namespace lora
