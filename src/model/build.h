// From what a layer is made of (arch/spec.h) to the layer, over tensors of any origin.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arch/config.h"
#include "base/buffer.h"
#include "model/block.h"

namespace lora {

// Where tensors come from: a file, or memory. Names are whole: "blk.3.attn_q.weight".
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual bool has(const std::string& name) const = 0;
  // n_slices matrices, one below the other. Error if it is not there, or has another shape.
  virtual MatrixView matrix(const std::string& name, int64_t n_out, int64_t n_in, int64_t n_slices = 1) = 0;
  // n_slices vectors of n, decoded. nullopt, or with `required` an error, if it is not there.
  virtual std::optional<Buffer<float>> vector(const std::string& name, int64_t n, bool required,
                                              int64_t n_slices = 1) = 0;
  // Error naming the tensor, and its file where there is one.
  [[noreturn]] virtual void refuse(const std::string& name, const std::string& why) const = 0;
};

// The tensor of one of a stack's matrices, in files that have each for itself, as those of early 2024:
// "blk.0.ffn_up.3.weight" of "blk.0.ffn_up_exps.weight"; "" of other names.
std::string tensor_of_slice(std::string_view stack, int64_t slice);

// Biases (and sinks) are added to `biases`, which layers refer to. Error as the source gives it.
Layer build_layer(const LayerSpec& spec, int64_t i, const ModelConfig& config, TensorSource& source,
                  std::vector<Buffer<float>>& biases);
// `prefix`: "blk.3.", or nothing. `n_rows`: of the whole tensor, or of a slice. A tensor that is a stack
// gives as many layers; where the file has none of its name, its slices may be tensors of their own.
std::vector<Linear> build_linears(const LinearSpec& spec, const std::string& prefix, int64_t n_rows,
                                  TensorSource& source, std::vector<Buffer<float>>& biases);
Linear build_linear(const LinearSpec& spec, const std::string& prefix, int64_t n_rows, TensorSource& source,
                    std::vector<Buffer<float>>& biases);
Norm build_norm(const NormSpec& spec, const std::string& prefix, float eps, TensorSource& source);

}  // namespace lora
