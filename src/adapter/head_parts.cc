#include "adapter/head_parts.h"

#include <algorithm>
#include <array>
#include <map>

#include "base/error.h"
#include "base/printable.h"

namespace lora {
namespace {

constexpr std::string_view kWhole = "attn_kv_b.weight", kKeys = "attn_k_b.weight",
                           kValues = "attn_v_b.weight";

// "blk.3.attn_k_b.weight" of "blk.3.attn_kv_b.weight".
std::string with_end(std::string_view tensor, std::string_view end, std::string_view wanted) {
  return std::string(tensor.substr(0, tensor.size() - end.size())) + std::string(wanted);
}

struct Parts {
  const GgufTensor *keys = nullptr, *values = nullptr;
  explicit operator bool() const {
    return keys && values && keys->ne[2] == values->ne[2] && keys->ne[1] == values->ne[0];
  }
  HeadParts heads() const { return {keys->ne[2], keys->ne[0], values->ne[1]}; }
};

Parts parts_of(const Gguf& base, std::string_view tensor) {
  if (!is_of_heads(tensor)) return {};
  return {base.find_tensor(with_end(tensor, kWhole, kKeys)),
          base.find_tensor(with_end(tensor, kWhole, kValues))};
}

std::vector<float> decoded(const Gguf& base, const GgufTensor& tensor) {
  if (tensor.type != Type::F32 && tensor.type != Type::F16 && tensor.type != Type::BF16)
    refuse_base_type(base.path(), tensor.name, traits(tensor.type).name);
  std::vector<float> values(size_t(tensor.n_elements()));
  traits(tensor.type).decode(values.data(), tensor.data.data(), tensor.n_elements());
  return values;
}

// The one matrix of a half that all heads share.
std::vector<float> shared(const LoraHalf& half, const std::string& path) {
  const auto size = half.n_rows * half.n_cols;
  for (int64_t h = 1; h < half.n_slices; ++h) {
    if (std::equal(half.values.begin(), half.values.begin() + size, half.values.begin() + h * size)) continue;
    fail(
        "{}: tensor {}: differs from head to head, and here all heads of attn_kv_b share that half of a "
        "pair, as "
        "in kv_b_proj at Hugging Face; merge it with the program that made it",
        path, half.tensor);
  }
  return {half.values.begin(), half.values.begin() + size};
}

}  // namespace

bool is_of_heads(std::string_view tensor) {
  return tensor.starts_with("blk.") && tensor.ends_with(kWhole) &&
         tensor.substr(0, tensor.size() - kWhole.size()).ends_with('.');
}

std::optional<HeadParts> head_parts(const Gguf& base) {
  const Parts parts = parts_of(base, "blk.0.attn_kv_b.weight");
  return parts ? std::optional(parts.heads()) : std::nullopt;
}

std::optional<PairShape> joined_shape(const Gguf& base, std::string_view tensor) {
  const Parts parts = parts_of(base, tensor);
  if (!parts) return std::nullopt;
  return PairShape{parts.values->ne[0], parts.heads().n_rows()};
}

std::vector<float> joined_weight(const Gguf& base, std::string_view tensor) {
  const Parts parts = parts_of(base, tensor);
  if (!parts) return {};
  const HeadParts heads = parts.heads();
  const std::vector<float> keys = decoded(base, *parts.keys), values = decoded(base, *parts.values);
  const int64_t n_in = parts.values->ne[0], n_v = heads.n_values * n_in;
  std::vector<float> whole;
  for (int64_t h = 0; h < heads.n_head; ++h) {
    for (int64_t i = 0; i < heads.n_keys; ++i) {
      for (int64_t c = 0; c < n_in; ++c) whole.push_back(keys[size_t((h * n_in + c) * heads.n_keys + i)]);
    }
    whole.insert(whole.end(), values.begin() + h * n_v, values.begin() + (h + 1) * n_v);
  }
  return whole;
}

std::vector<LoraHalf> cut_halves(const LoraPair& pair, const HeadParts& parts) {
  const int64_t rank = pair.rank, n_keys = parts.n_keys, n_values = parts.n_values, n_head = parts.n_head;
  // The sizes of heads are those of the first layer.
  if (pair.n_out != parts.n_rows() || int64_t(pair.b.size()) != pair.n_out * rank) {
    fail("tensor {}: {} rows, but {} heads have {} each: layers that differ are not supported",
         printable(pair.base), pair.n_out, n_head, n_keys + n_values);
  }
  const std::string keys = with_end(pair.base, kWhole, kKeys), values = with_end(pair.base, kWhole, kValues);
  LoraHalf a_k{keys, keys + ".lora_a", false, rank, n_keys, {}, n_head};
  LoraHalf b_k{keys, keys + ".lora_b", true, pair.n_in, rank, transposed(pair.a, rank, pair.n_in)};
  LoraHalf a_v{values, values + ".lora_a", false, rank, pair.n_in, pair.a};
  LoraHalf b_v{values, values + ".lora_b", true, n_values, rank, {}, n_head};
  for (int64_t h = 0; h < n_head; ++h) {
    const auto of_keys = pair.b.begin() + h * (n_keys + n_values) * rank, of_values = of_keys + n_keys * rank;
    const std::vector<float> turned = transposed({of_keys, of_values}, n_keys, rank);
    a_k.values.insert(a_k.values.end(), turned.begin(), turned.end());
    b_v.values.insert(b_v.values.end(), of_values, of_values + n_values * rank);
  }
  return {std::move(a_k), std::move(b_k), std::move(a_v), std::move(b_v)};
}

std::vector<LoraPair> cut_pairs(const LoraPair& pair, const HeadParts& parts) {
  std::vector<LoraHalf> halves = cut_halves(pair, parts);
  const auto repeated = [&](const LoraHalf& half) {
    std::vector<float> all;
    for (int64_t h = 0; h < parts.n_head; ++h) all.insert(all.end(), half.values.begin(), half.values.end());
    return all;
  };
  std::vector<LoraPair> pairs;
  pairs.push_back({halves[0].base, parts.n_keys, pair.n_in, pair.rank, std::move(halves[0].values),
                   repeated(halves[1]), parts.n_head});
  pairs.push_back({halves[2].base, pair.n_in, parts.n_values, pair.rank, repeated(halves[2]),
                   std::move(halves[3].values), parts.n_head});
  return pairs;
}

std::vector<LoraHalf> join_halves(std::vector<LoraHalf> halves, std::optional<HeadParts>& parts,
                                  const std::string& path) {
  std::map<std::string, std::array<LoraHalf*, 4>> layers;  // in the order of cut_halves()
  std::vector<LoraHalf> others;
  for (LoraHalf& half : halves) {
    const bool is_keys = half.base.starts_with("blk.") && half.base.ends_with(kKeys);
    const bool is_values = half.base.starts_with("blk.") && half.base.ends_with(kValues);
    if (!is_keys && !is_values) continue;
    LoraHalf*& place = layers[with_end(half.base, is_keys ? kKeys : kValues, kWhole)]
                             [size_t(is_values) * 2 + size_t(half.is_b)];
    if (place) fail("{}: tensor {}: found twice", path, half.tensor);
    place = &half;
  }
  if (layers.empty()) return halves;
  std::vector<LoraHalf> joined;
  for (const auto& [name, four] : layers) {
    const auto there = std::ranges::find_if(four, [](const LoraHalf* half) { return half != nullptr; });
    if (std::ranges::find(four, nullptr) != four.end()) {
      fail(
          "{}: tensor {}: attn_k_b and attn_v_b are one matrix to an adapter, and a half of their pairs is "
          "missing",
          path, (*there)->tensor);
    }
    const auto& [a_k, b_k, a_v, b_v] = four;
    const int64_t rank = a_k->n_rows, n_in = b_k->n_rows, n_head = a_k->n_slices;
    const HeadParts heads{n_head, a_k->n_cols, b_v->n_rows};
    if (parts &&
        (parts->n_head != n_head || parts->n_keys != heads.n_keys || parts->n_values != heads.n_values))
      fail("{}: tensor {}: has another shape than those of other layers", path, a_k->tensor);
    parts = heads;
    const bool fits = b_k->n_cols == rank && a_v->n_rows == rank && b_v->n_cols == rank &&
                      a_v->n_cols == n_in && b_v->n_slices == n_head &&
                      (b_k->n_slices == 1 || b_k->n_slices == n_head) &&
                      (a_v->n_slices == 1 || a_v->n_slices == n_head);
    if (!fits) fail("{}: tensor {}: does not fit {}", path, a_k->tensor, b_v->tensor);
    LoraHalf a{name, a_v->tensor, false, rank, n_in, shared(*a_v, path)};
    if (transposed(shared(*b_k, path), n_in, rank) != a.values) {
      fail(
          "{}: tensor {}: differs from {}: the two are one half of kv_b_proj's pair; merge it with the "
          "program that "
          "made it",
          path, b_k->tensor, a_v->tensor);
    }
    LoraHalf b{name, b_v->tensor, true, heads.n_rows(), rank, {}};
    for (int64_t h = 0; h < n_head; ++h) {
      const auto k = a_k->values.begin() + h * rank * heads.n_keys;
      const auto v = b_v->values.begin() + h * rank * heads.n_values;
      const std::vector<float> turned = transposed({k, k + rank * heads.n_keys}, rank, heads.n_keys);
      b.values.insert(b.values.end(), turned.begin(), turned.end());
      b.values.insert(b.values.end(), v, v + rank * heads.n_values);
    }
    joined.push_back(std::move(a));
    joined.push_back(std::move(b));
  }
  for (LoraHalf& half : halves) {
    const bool is_part =
        half.base.starts_with("blk.") && (half.base.ends_with(kKeys) || half.base.ends_with(kValues));
    if (!is_part) others.push_back(std::move(half));
  }
  std::ranges::move(joined, std::back_inserter(others));
  return others;
}

}  // namespace lora
