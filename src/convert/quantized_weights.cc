#include "convert/quantized_weights.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/printable.h"

namespace lora {
namespace {

constexpr std::string_view kMxfp4 = "mxfp4";

struct Method {
  std::string_view name;         // as people write it
  std::string_view config_name;  // quantization_config's quant_method
  // Endings of the names of a module's tensors, all of which it has; "": no more.
  std::array<std::string_view, 3> endings{};
};

// In this order: the first one that fits is it.
constexpr Method kMethods[] = {
    {"GPTQ", "gptq", {".qweight", ".qzeros", ".g_idx"}},
    {"AWQ", "awq", {".qweight", ".qzeros", ".scales"}},
    {"GPTQ (Marlin)", "marlin", {".B", ".s"}},
    {"bitsandbytes (4 bits)", "bitsandbytes", {".weight.absmax", ".weight.quant_map"}},
    {"bitsandbytes (4 bits)", "bitsandbytes", {".weight.absmax"}},
    {"bitsandbytes (8 bits)", "bitsandbytes", {".SCB"}},
    {"bitsandbytes (8 bits)", "bitsandbytes", {".weight_format"}},
    {"compressed-tensors", "compressed-tensors", {".weight_packed"}},
    {"NVFP4 (ModelOpt)", "modelopt", {".weight_scale_2"}},
    {"NVFP4 (ModelOpt)", "modelopt_fp4", {}},
    {"MXFP4", kMxfp4, {"_blocks", "_scales"}},
    {"MLX", "mlx", {".weight", ".scales", ".biases"}},
    {"HQQ", "hqq", {".W_q"}},
    {"EETQ", "eetq", {".weight_scales"}},
    {"AQLM", "aqlm", {".codebooks"}},
    {"ExLlamaV2", "exl2", {".q_weight", ".q_scale"}},
    {"ExLlamaV3", "exl3", {".trellis"}},
    {"QuIP#", "quip", {".Qidxs"}},
    {"VPTQ", "vptq", {".centroids.weight"}},
    {"SpQR", "spqr", {".dense_weights"}},
    {"quanto", "quanto", {".weight._data"}},
    {"torchao", "torchao", {".weight:_data"}},
    {"torchao", "torchao", {".weight:tensor_data"}},
    {"torchao", "torchao", {".weight:qdata"}},
    {"torchao", "torchao", {"._weight_qdata"}},
    {"HIGGS", "higgs", {}},
    {"BitNet", "bitnet", {}},
    {"AutoRound", "auto-round", {}},
    {"AutoRound", "intel/auto-round", {}},
};

[[noreturn]] void refuse(const HfWeights& weights, std::string_view tensor, std::string_view method) {
  fail("{}: tensor '{}': weights quantized by {} cannot be converted; take the model as it was before",
       weights.path_of(*weights.find(tensor)), printable(tensor), method);
}

bool has_all(const HfWeights& weights, std::string_view module, const Method& method) {
  return std::all_of(method.endings.begin(), method.endings.end(), [&](std::string_view ending) {
    return ending.empty() || weights.find(std::string(module).append(ending));
  });
}

}  // namespace

std::string_view quantization_method(std::string_view config_name) {
  for (const Method& method : kMethods) {
    if (method.config_name == config_name) return method.name.substr(0, method.name.find(" ("));
  }
  return config_name;
}

void expect_plain_weights(const HfWeights& weights, bool reads_mxfp4) {
  for (const auto& [name, tensor] : weights.tensors()) {
    for (const Method& method : kMethods) {
      const std::string_view first = method.endings[0];
      if (first.empty() || !name.ends_with(first)) continue;
      if (reads_mxfp4 && method.config_name == kMxfp4) continue;
      const std::string_view module = std::string_view(name).substr(0, name.size() - first.size());
      if (has_all(weights, module, method)) refuse(weights, name, method.name);
    }
  }
  // Integers where weights should be.
  for (const auto& [name, tensor] : weights.tensors()) {
    const bool holds_floats = tensor.dtype.starts_with("F") || tensor.dtype.starts_with("BF");
    if (!holds_floats && name.ends_with(".weight") && tensor.shape.size() >= 2) {
      refuse(weights, name, fmt::format("a method that is not known ({})", printable(tensor.dtype)));
    }
  }
}

}  // namespace lora
