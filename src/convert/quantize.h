// A model file to one of smaller tensor types, in little memory (convert/rewrite.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "convert/mixes.h"

namespace lora {

struct QuantizeOptions {
  std::string in;   // a model, or any part of a split one
  std::string out;  // one file
  const Mix* mix = nullptr;
  int threads = 0;                // 0: physical_cores()
  bool allow_requantize = false;  // of tensors that are quantized already
  bool pure = false, leave_output_tensor = false;
  std::optional<Type> output_tensor_type = {}, token_embedding_type = {};
  TensorTypes tensor_types = {};
  std::string imatrix = {};     // importance of columns; "": none
  bool dry_run = false;         // nothing is encoded or written
  bool measure_errors = false;  // decodes what it encoded
};

struct QuantizedTensor {
  std::string_view name;
  std::string shape;
  Type from, to, wanted;  // wanted differs from `to` where rows are no multiple of its block
  uint64_t bytes_before = 0, bytes_after = 0;
  std::string_view why_kept = {};  // in a word, where no mix has a type for it (convert/kept.h)
  bool has_importance = false;
  std::optional<double> relative_error = {};  // root of (sum of squared errors / sum of squares), if measured
};

struct QuantizeEvents {
  std::function<void(std::string_view line)> say;
  // After each tensor, in the file's order; of all tensors' bytes so many are done.
  std::function<void(const QuantizedTensor& tensor, uint64_t bytes_done, uint64_t bytes)> on_tensor;
  std::function<bool()> should_stop;
};

struct QuantizeResult {
  uint64_t bytes_before = 0, bytes_after = 0;  // of the tensors
  int64_t n_weights = 0;
  bool stopped = false;  // by should_stop: nothing was written
};

// Throws Error naming the file, tensor or flag at fault; then nothing is left behind.
QuantizeResult quantize(const QuantizeOptions& options, const QuantizeEvents& events);

}  // namespace lora
