#include "adapter/peft_experts.h"

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "gguf/gguf.h"

namespace lora {
namespace {

// Parameters of a layer's modules, in which names stand behind that of the layer.
std::vector<PeftParameter> parameters_of_layer(const HfFamily& family, int64_t layer) {
  std::vector<PeftParameter> parameters;
  for_each_layer_module(family, [&](const HfModule& m) {
    const bool is_stacked = m.stack == Stack::whole || m.stack == Stack::columns;
    if (!is_stacked || m.n_in == Dim::none) return;
    const std::string path = fmt::format("{}{}", m.hf, m.hf_end);
    auto found = std::ranges::find(parameters, path, &PeftParameter::path);
    if (found == parameters.end()) {
      const size_t dot = path.rfind('.');
      parameters.push_back({path.substr(0, dot), path.substr(dot + 1), {}, m.stack == Stack::columns});
      found = parameters.end() - 1;
    }
    found->parts.push_back({fmt::format("blk.{}.{}.weight", layer, m.gguf), &m});
  });
  return parameters;
}

int64_t n_rows_of(const PeftParameter& parameter, const PairShape& shape) {
  return int64_t(parameter.parts.size()) * shape.n_out;
}

}  // namespace

std::vector<PeftParameter> peft_parameters(std::string_view architecture, std::string_view module) {
  const Architecture* arch = find_hf_family(architecture);
  const auto in_layer = arch ? peft_in_layer(*arch->hf, module) : std::nullopt;
  if (!in_layer) return {};
  std::vector<PeftParameter> found;
  for (PeftParameter& parameter : parameters_of_layer(*arch->hf, in_layer->layer)) {
    if (parameter.module != in_layer->module) continue;
    parameter.module = module;
    found.push_back(std::move(parameter));
  }
  return found;
}

std::optional<PeftParameter> peft_parameter(std::string_view architecture, std::string_view base) {
  const Architecture* arch = find_hf_family(architecture);
  const auto layer = block_of(base);
  if (!arch || !layer) return std::nullopt;
  for (PeftParameter& parameter : parameters_of_layer(*arch->hf, *layer)) {
    if (std::ranges::find(parameter.parts, base, &PeftTarget::base) == parameter.parts.end()) continue;
    parameter.module = fmt::format("{}{}{}.{}", arch->hf->prefix, arch->hf->layers, *layer, parameter.module);
    return std::move(parameter);
  }
  return std::nullopt;
}

std::string mlx_stack(std::string_view architecture, std::string_view module) {
  const Architecture* arch = find_hf_family(architecture);
  const auto in_layer = arch ? peft_in_layer(*arch->hf, module) : std::nullopt;
  if (!in_layer || arch->hf->experts.empty()) return "";
  constexpr std::pair<std::string_view, std::string_view> kEnds[] = {
      {"gate_proj", "ffn_gate_exps"}, {"up_proj", "ffn_up_exps"}, {"down_proj", "ffn_down_exps"}};
  for (const std::string_view parent : {".switch_mlp.", ".switch_glu.", ".experts."}) {
    for (const auto& [end, tensor] : kEnds) {
      if (!in_layer->module.ends_with(fmt::format("{}{}", parent, end))) continue;
      bool is_there = false;
      // A copy: clang 14 lets no lambda capture a part of a pair.
      for_each_layer_module(*arch->hf, [&, gguf = tensor](const HfModule& m) { is_there |= m.gguf == gguf; });
      return is_there ? fmt::format("blk.{}.{}.weight", in_layer->layer, tensor) : "";
    }
  }
  return "";
}

bool fits_parameter(const LoraPair& pair, const PeftParameter& parameter, const PairShape& shape,
                    bool is_swapped) {
  if (is_swapped && parameter.is_transposed) return false;
  const int64_t n_rows = n_rows_of(parameter, shape);
  return is_swapped ? pair.n_in == n_rows && pair.n_out == shape.n_in
                    : pair.n_in == shape.n_in && pair.n_out == n_rows;
}

std::vector<LoraPair> pairs_of_parameter(const LoraPair& pair, const PeftParameter& parameter,
                                         const PairShape& shape, bool is_swapped, const std::string& what) {
  const int64_t n_expert = shape.n_slices, n_rows = n_rows_of(parameter, shape), n_in = shape.n_in;
  if (!fits_parameter(pair, parameter, shape, is_swapped) || pair.rank % n_expert != 0) {
    fail("{}: expected {} x {} of {} experts, found {} x {} of rank {}", what, n_in, n_rows, n_expert,
         pair.n_in, pair.n_out, pair.rank);
  }
  const int64_t rank = pair.rank / n_expert;
  // Element (e, k, i) of what lies as A does, (e, i, k) of what lies as B does.
  const auto as_a = [&](int64_t e, int64_t k, int64_t i) {
    return pair.a[size_t((e * rank + k) * pair.n_in + i)];
  };
  const auto as_b = [&](int64_t e, int64_t i, int64_t k) {
    return pair.b[size_t(i * pair.rank + k * n_expert + e)];
  };
  std::vector<LoraPair> pairs;
  for (const PeftTarget& part : parameter.parts) {
    LoraPair& own = pairs.emplace_back();
    own.base = part.base;
    own.n_in = n_in, own.n_out = shape.n_out, own.rank = rank, own.n_slices = n_expert;
    own.a.reserve(size_t(n_expert * rank * n_in));
    own.b.reserve(size_t(n_expert * own.n_out * rank));
    const std::vector<int64_t> rows = rows_of_part(*part.module, own.n_out);
    for (int64_t e = 0; e < n_expert; ++e) {
      for (int64_t k = 0; k < rank; ++k) {
        for (int64_t i = 0; i < n_in; ++i) own.a.push_back(is_swapped ? as_b(e, i, k) : as_a(e, k, i));
      }
      for (const int64_t row : rows) {
        for (int64_t k = 0; k < rank; ++k) own.b.push_back(is_swapped ? as_a(e, k, row) : as_b(e, row, k));
      }
    }
  }
  return pairs;
}

LoraPair parameter_pair(const LoraPair& pair) {
  LoraPair whole = pair;
  const int64_t n_expert = pair.n_slices, rank = pair.rank;
  whole.rank = n_expert * rank;
  whole.n_slices = 1;
  for (int64_t e = 0; e < n_expert; ++e) {
    for (int64_t row = 0; row < pair.n_out; ++row) {
      for (int64_t k = 0; k < rank; ++k)
        whole.b[size_t(row * whole.rank + k * n_expert + e)] =
            pair.b[size_t((e * pair.n_out + row) * rank + k)];
    }
  }
  return whole;
}

LoraPair stack_pairs(const std::string& base, std::span<const ExpertPair> pairs, int64_t n_expert) {
  const LoraPair& first = *pairs.front().pair;
  LoraPair stack;
  stack.base = base;
  stack.n_in = first.n_in, stack.n_out = first.n_out, stack.n_slices = n_expert;
  for (const ExpertPair& one : pairs) stack.rank = std::max(stack.rank, one.pair->rank);
  stack.a.assign(size_t(n_expert * stack.rank * stack.n_in), 0);
  stack.b.assign(size_t(n_expert * stack.n_out * stack.rank), 0);
  const double scale = pairs.front().scale;
  for (const ExpertPair& one : pairs) {
    const LoraPair& pair = *one.pair;
    std::ranges::copy(pair.a, stack.a.begin() + one.expert * stack.rank * stack.n_in);
    const double factor = scale == 0 ? 0 : one.scale / scale;
    for (int64_t row = 0; row < pair.n_out; ++row) {
      float* to = &stack.b[size_t((one.expert * stack.n_out + row) * stack.rank)];
      const float* from = &pair.b[size_t(row * pair.rank)];
      for (int64_t k = 0; k < pair.rank; ++k) to[k] = factor == 1 ? from[k] : float(double(from[k]) * factor);
    }
  }
  return stack;
}

}  // namespace lora
