#include "arch/hf.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "arch/hf_config.h"
#include "base/elementary.h"
#include "base/error.h"
#include "base/numbers.h"
#include "base/printable.h"
#include "gguf/gguf.h"
#include "kernels/conv/conv.h"

namespace lora {

std::string hf_numbered(std::string_view name, int64_t expert) {
  const size_t at = name.find('#');
  if (at == name.npos) return std::string(name);
  return fmt::format("{}{}{}", name.substr(0, at), expert, name.substr(at + 1));
}

const Architecture* find_hf_family(std::string_view architecture) {
  const Architecture* row = find_architecture(architecture);
  return row && row->hf ? row : nullptr;
}

std::optional<HfPlace> find_hf_matrix(const HfFamily& family, std::string_view gguf_tensor) {
  constexpr std::string_view prefix = "blk.", suffix = ".weight";
  if (!gguf_tensor.ends_with(suffix)) return std::nullopt;
  gguf_tensor.remove_suffix(suffix.size());
  HfPlace place;
  const auto look_at = [&](const HfModule& module) {
    const bool is_whole = module.is_linear() && module.of_gguf == Rows::all && !is_of_heads(module.stack);
    if (module.gguf == gguf_tensor && is_whole && !place.module) place.module = &module;
  };
  if (gguf_tensor.starts_with(prefix)) {
    gguf_tensor.remove_prefix(prefix.size());
    place.layer = take_number<uint32_t>(gguf_tensor);
    if (!place.layer || !gguf_tensor.starts_with('.')) return std::nullopt;
    gguf_tensor.remove_prefix(1);
    for_each_layer_module(family, look_at);
  } else {
    for (const HfModule& module : family.root) look_at(module);
  }
  return place.module ? std::optional(place) : std::nullopt;
}

std::vector<int64_t> delta_rows(DeltaOrder order, const DeltaHeads& d) {
  const int64_t group = d.n_v / d.n_k, n_k = d.n_k * d.dim_k, packed = packed_rows(d) / d.n_k;
  std::vector<int64_t> rows;
  const auto value_heads = [&](int64_t first, int64_t dim) {
    for (int64_t i = 0; i < d.n_v * dim; ++i) {
      const int64_t head = i / dim;
      rows.push_back(first + (head % d.n_k * group + head / d.n_k) * dim + i % dim);
    }
  };
  // Of each key head n rows from row `first` of its own.
  const auto unpack = [&](int64_t first, int64_t n) {
    for (int64_t i = 0; i < d.n_k * n; ++i) rows.push_back(i / n * packed + first + i % n);
  };
  switch (order) {
    case DeltaOrder::as_is:
    case DeltaOrder::columns:
      break;
    case DeltaOrder::qkv:
      for (int64_t i = 0; i < 2 * n_k; ++i) rows.push_back(i);
      value_heads(2 * n_k, d.dim_v);
      break;
    case DeltaOrder::values:
      value_heads(0, d.dim_v);
      break;
    case DeltaOrder::heads:
      value_heads(0, 1);
      break;
    case DeltaOrder::packed_qkv:
      unpack(0, d.dim_k);
      unpack(d.dim_k, d.dim_k);
      unpack(2 * d.dim_k, group * d.dim_v);
      break;
    case DeltaOrder::packed_z:
      unpack(2 * d.dim_k + group * d.dim_v, group * d.dim_v);
      break;
  }
  return rows;
}

std::vector<int64_t> delta_columns(DeltaOrder order, const DeltaHeads& d) {
  return order == DeltaOrder::columns ? delta_rows(DeltaOrder::values, d) : std::vector<int64_t>();
}

bool needs_head_counts(const HfFamily& family, const HfModule& module) {
  return (family.reorders_heads && module.order != RowOrder::as_is) ||
         (module.of_hf != Rows::all && !is_half(module.of_hf)) || module.grouped ||
         module.delta != DeltaOrder::as_is;
}

std::vector<int64_t> hf_half(const HfModule& module, int64_t n) {
  std::vector<int64_t> rows;
  const int64_t second = module.of_hf == Rows::up;
  for (int64_t r = 0; r < n; ++r) rows.push_back(module.in_turn ? 2 * r + second : second * n + r);
  return rows;
}

std::vector<RowFactors> factors_of_rows(const HfConfig& config, const HfModule& module, int64_t n) {
  const HfFamily& family = *config.architecture->hf;
  std::vector<RowFactors> factors;
  if (family.row_factors) factors = family.row_factors(config, module);
  if (std::ranges::all_of(factors, [](const RowFactors& f) { return f[0] == 1 && f[1] == 1; })) return {};
  if (factors.size() == 1) factors.resize(size_t(n), factors.front());
  if (int64_t(factors.size()) != n)
    fail("{}: {}: {} rows, expected {}", config.path, module.gguf, n, factors.size());
  return factors;
}

std::vector<int64_t> hf_rows(const HfFamily& family, const HfModule& module, const HeadCounts& counts) {
  if (!needs_head_counts(family, module)) return {};
  if (module.delta != DeltaOrder::as_is) return delta_rows(module.delta, counts.delta);
  const int64_t dim = counts.head_dim, n_q = counts.n_head * dim, n_kv = counts.n_head_kv * dim;
  const int64_t n_group = counts.n_head / counts.n_head_kv;  // q heads of each k, v head
  const bool reorders = family.reorders_heads && module.order != RowOrder::as_is;
  std::vector<int64_t> rows;
  // Head `head` of a matrix that begins at row `first` of Hugging Face's; of q, or the first or second
  // behind it.
  const auto append = [&](int64_t n_rows, int64_t first, bool is_q, int64_t behind) {
    for (int64_t r = 0; r < n_rows; ++r) {
      const int64_t row = reorders ? hf_row(r, dim) : r, head = row / dim;
      const int64_t group = is_q ? head / n_group : head, in_group = is_q ? head % n_group : n_group + behind;
      rows.push_back(module.grouped ? (group * (n_group + 2) + in_group) * dim + row % dim : first + row);
    }
  };
  switch (module.of_hf) {
    case Rows::all:
      if (!module.grouped) {
        append(module.order == RowOrder::heads ? n_q : n_kv, 0, true, 0);
        break;
      }
      append(n_q, 0, true, 0);
      append(n_kv, n_q, false, 0);
      append(n_kv, n_q + n_kv, false, 1);
      break;
    case Rows::q:
      append(n_q, 0, true, 0);
      break;
    case Rows::k:
      append(n_kv, n_q, false, 0);
      break;
    case Rows::v:
      append(n_kv, n_q + n_kv, false, 1);
      break;
    case Rows::gate:
    case Rows::up:
      break;  // hf_half
  }
  return rows;
}

bool HfConfig::reads_mxfp4() const {
  bool reads = false;
  for_each_layer_module(*architecture->hf, [&](const HfModule& m) { reads |= m.stack == Stack::mxfp4; });
  return reads;
}

int64_t HfConfig::size(Dim dim, std::optional<int64_t> layer) const {
  const auto at = [&](const std::vector<int64_t>& of_layers, int64_t of_all) {
    return layer && !of_layers.empty() ? of_layers.at(size_t(*layer)) : of_all;
  };
  const int64_t dim_of_head = at(head_dim_of, head_dim), n_kv = at(n_head_kv_of, n_head_kv),
                ff = at(n_ff_of, n_ff);
  switch (dim) {
    case Dim::none:
    case Dim::one:
      return 1;
    case Dim::embd:
      return n_embd;
    case Dim::two_embd:
      return 2 * n_embd;
    case Dim::vocab:
      return n_vocab;
    case Dim::ff:
      return ff;
    case Dim::two_ff:
      return 2 * ff;
    case Dim::heads:
      return n_head * dim_of_head;
    case Dim::kv_heads:
      return n_kv * dim_of_head;
    case Dim::qkv:
      return (n_head + 2 * n_kv) * dim_of_head;
    case Dim::head:
      return dim_of_head;
    case Dim::n_head:
      return n_head;
    case Dim::experts:
      return n_expert;
    case Dim::expert_ff:
      return n_expert_ff;
    case Dim::shared_ff:
      return n_shared_ff;
    case Dim::two_expert_ff:
      return 2 * n_expert_ff;
    case Dim::embd_per_layer:
      return n_embd_per_layer;
    case Dim::embd_per_layers:
      return n_layer * n_embd_per_layer;
    case Dim::ctx:
      return n_ctx;
    case Dim::q_rank:
      return n_q_rank;
    case Dim::kv_rank:
      return n_kv_rank;
    case Dim::latent:
      return n_kv_rank + n_rope;
    case Dim::nope:
      return n_nope;
    case Dim::value_head:
      return n_value;
    case Dim::value_heads:
      return n_head * n_value;
    case Dim::keys_and_values:
      return n_head * (n_nope + n_value);
    case Dim::two_heads:
      return 2 * n_head * head_dim;
    case Dim::delta_heads:
      return delta.n_v;
    case Dim::two_delta_heads:
      return 2 * delta.n_v;
    case Dim::delta_value:
      return delta.dim_v;
    case Dim::delta_values:
      return delta.n_values();
    case Dim::delta_qkv:
      return delta.n_qkv();
    case Dim::three_embd:
      return 3 * n_embd;
    case Dim::conv:
      return n_conv;
    case Dim::ssm_in:
      return 2 * ssm.n_inner + 2 * ssm.n_group * ssm.n_state + ssm.n_head;
    case Dim::ssm_conv:
      return ssm.n_inner + 2 * ssm.n_group * ssm.n_state;
    case Dim::ssm_heads:
      return ssm.n_head;
    case Dim::ssm_groups:
      return ssm.n_group;
    case Dim::ssm_group:
      return ssm.n_inner / ssm.n_group;
    case Dim::ssm_inner:
      return ssm.n_inner;
  }
  return 0;
}

namespace {

// What config.json has by that key, if it is of that kind.
template <class Map>
const typename Map::mapped_type* stated(const HfConfig& config, const Map& kind, std::string_view key) {
  if (const auto found = kind.find(key); found != kind.end()) return &found->second;
  const auto number = config.numbers.find(key);
  const auto other = config.no_numbers.find(key);
  if (number != config.numbers.end()) fail("{}: {}: {} makes no sense", config.path, key, number->second);
  if (other != config.no_numbers.end())
    fail("{}: {}: {} makes no sense", config.path, key, printable(other->second));
  return nullptr;
}

}  // namespace

std::string HfConfig::text(std::string_view key) const {
  const std::string* found = stated(*this, texts, key);
  return found ? *found : "";
}

const std::vector<int64_t>* HfConfig::whole_numbers(std::string_view key) const {
  return stated(*this, lists, key);
}

const std::vector<std::string>* HfConfig::words(std::string_view key) const {
  return stated(*this, text_lists, key);
}

std::optional<double> HfConfig::number(std::string_view key) const {
  const double* found = stated(*this, numbers, key);
  return found ? std::optional(*found) : std::nullopt;
}

int64_t HfConfig::count(std::string_view key) const {
  const int64_t n = count(key, 0);
  if (n == 0) fail("{}: {}: missing", path, key);
  return n;
}

int64_t HfConfig::count(std::string_view key, int64_t otherwise, int64_t least) const {
  // What some classes have in place of a size that follows from others.
  if (const auto found = texts.find(key); found != texts.end() && found->second == "auto") return otherwise;
  const auto value = number(key);
  if (!value) return otherwise;
  if (!(*value >= double(least) && *value <= 0x1p24) || *value != std::floor(*value))
    fail("{}: {}: {} makes no sense", path, key, *value);
  return int64_t(*value);
}

namespace hf {

void read_mamba2(HfConfig& config, const HfMamba2Keys& keys) {
  const auto size = [&](const HfSize& of) { return config.count(of.key, of.otherwise); };
  config.n_conv = size(keys.n_conv);
  if (config.n_conv > kMaxConv) {
    fail("{}: {}: {} taps are not supported (at most {})", config.path, keys.n_conv.key, config.n_conv,
         kMaxConv);
  }
  HfSsm& ssm = config.ssm;
  ssm.n_state = size(keys.n_state);
  ssm.n_head = size(keys.n_head);
  ssm.n_group = size(keys.n_group);
  ssm.n_inner = ssm.n_head * size(keys.head_dim);
  if (ssm.n_head % ssm.n_group != 0) {
    fail("{}: {}: {} heads are not divided by {} groups", config.path, keys.n_group.key, ssm.n_head,
         ssm.n_group);
  }
  if (ssm.n_group > 1 && keys.norm_may_differ) {
    config.notes.push_back(
        fmt::format("{}: {}: the norm behind the states is of each group by itself, as llama.cpp and "
                    "Mamba-2's authors have "
                    "it; Hugging Face's class has one of all groups",
                    keys.n_group.key, ssm.n_group));
  }
}

void finish_mamba2(HfConfig& config, const HfMamba2Keys& keys, const char* key, int64_t n_inner) {
  HfSsm& ssm = config.ssm;
  if (n_inner % ssm.n_head != 0) {
    fail("{}: {}: {} columns of Mamba-2 are not divided by {} heads", config.path, keys.n_head.key, n_inner,
         ssm.n_head);
  }
  if (ssm.n_inner != 0 && ssm.n_inner != n_inner) {
    fail("{}: {}: {} heads of {} are {} columns, but by {} they are {}", config.path, keys.head_dim.key,
         ssm.n_head, ssm.n_inner / ssm.n_head, ssm.n_inner, key, n_inner);
  }
  ssm.n_inner = n_inner;
}

void write_mamba2_keys(GgufWriter& writer, const HfConfig& config) {
  const std::string prefix = fmt::format("{}.ssm.", config.architecture->name);
  const HfSsm& ssm = config.ssm;
  for (const auto& [key, value] : {std::pair<const char*, int64_t>{"conv_kernel", config.n_conv},
                                   {"inner_size", ssm.n_inner},
                                   {"state_size", ssm.n_state},
                                   {"time_step_rank", ssm.n_head},
                                   {"group_count", ssm.n_group}})
    writer.set_u32(prefix + key, uint32_t(value));
}

}  // namespace hf

void write_longrope_keys(GgufWriter& writer, const HfConfig& config) {
  const HfRope& rope = config.rope;
  const std::string prefix = fmt::format("{}.rope.scaling.", config.architecture->name);
  const int64_t n_ctx_orig = rope.n_ctx_orig.value_or(config.n_ctx);
  writer.set_u32(prefix + "original_context_length", uint32_t(n_ctx_orig));
  if (rope.type != "longrope") return;
  const double scale = double(config.n_ctx) / double(n_ctx_orig);
  const double attention =
      scale > 1 ? std::sqrt(1 + elementary::log(scale) / elementary::log(double(n_ctx_orig))) : 1;
  writer.set_f32(prefix + "attn_factor", float(rope.attention_factor.value_or(attention)));
}

}  // namespace lora
