#include "adapter/pairs.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/printable.h"
#include "kernels/encode/encode.h"

namespace lora {

void check_not_empty(const LoraHalf& half, const std::string& path) {
  if (half.n_rows < 1 || half.n_cols < 1) {
    fail("{}: tensor {}: expected at least one row and column, found {} x {}", path, half.tensor, half.n_rows,
         half.n_cols);
  }
}

std::vector<float> transposed(const std::vector<float>& values, int64_t n_rows, int64_t n_cols) {
  std::vector<float> result(values.size());
  for (int64_t row = 0; row < n_rows; ++row) {
    for (int64_t col = 0; col < n_cols; ++col) {
      result[size_t(col * n_rows + row)] = values[size_t(row * n_cols + col)];
    }
  }
  return result;
}

void pair_up(Adapter& adapter, std::vector<LoraHalf> halves, const std::string& path) {
  if (halves.empty()) fail("{}: no LoRA tensors", path);
  struct Both {
    LoraHalf *a = nullptr, *b = nullptr;
  };
  std::map<std::string, Both> by_base;
  std::vector<std::string> order;
  for (LoraHalf& half : halves) {
    const auto [entry, is_new] = by_base.try_emplace(half.base);
    if (is_new) order.push_back(half.base);
    LoraHalf*& place = half.is_b ? entry->second.b : entry->second.a;
    if (place != nullptr) fail("{}: tensor {}: found twice", path, half.tensor);
    place = &half;
  }
  for (const std::string& base : order) {
    const auto [a, b] = by_base[base];
    if (a == nullptr) fail("{}: tensor {}: its A half is missing", path, b->tensor);
    if (b == nullptr) fail("{}: tensor {}: its B half is missing", path, a->tensor);
    if (a->n_rows != b->n_cols) {
      fail("{}: tensor {}: expected the rank of {}, which is {}, found {}", path, b->tensor, a->tensor,
           a->n_rows, b->n_cols);
    }
    if (a->n_slices != b->n_slices) {
      fail("{}: tensor {}: expected {} matrices as in {}, found {}", path, b->tensor, a->n_slices, a->tensor,
           b->n_slices);
    }
    if (base.ends_with("_norm.weight")) {
      adapter.ignored.push_back(base);
      continue;
    }
    adapter.pairs.push_back(
        {base, a->n_cols, b->n_rows, a->n_rows, std::move(a->values), std::move(b->values), a->n_slices});
  }
}

void fold_scale(const Adapter& adapter, LoraPair& pair, double wanted) {
  const double factor = wanted / (adapter.alpha != 0 ? double(adapter.alpha) / double(pair.rank) : 1.0);
  if (factor == 1) return;
  for (float& value : pair.b) value = float(double(value) * factor);
}

void set_scales(Adapter& adapter, const std::function<double(const LoraPair&)>& wanted) {
  const auto alpha_of = [&](const LoraPair& pair) { return float(wanted(pair) * double(pair.rank)); };
  std::map<float, size_t> counts;
  size_t most = 0;
  for (const LoraPair& pair : adapter.pairs) {
    const size_t n = ++counts[alpha_of(pair)];
    if (n <= most) continue;
    most = n;
    adapter.alpha = alpha_of(pair);
  }
  for (LoraPair& pair : adapter.pairs) {
    // An alpha of 0 means a scale of 1 (Adapter::scale), so it expresses no other.
    if (adapter.alpha == 0 || alpha_of(pair) != adapter.alpha) fold_scale(adapter, pair, wanted(pair));
  }
}

void leave_out(std::vector<LeftOut>* left_out, const std::string& path, const std::string& what,
               const std::string& why) {
  if (left_out == nullptr) {
    fail("{}: {}: {} (lora convert-lora --skip-unsupported leaves that out)", path, what, why);
  }
  left_out->push_back({why, what});
}

void check_values(const std::vector<float>& values, Type type, const std::string& path,
                  const std::string& tensor) {
  constexpr float f16_limit = 65519.99f;  // rounds to 65504
  float most = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) {
      fail("{}: tensor {}: holds a value that is not finite: the adapter is damaged, or its scale too large",
           path, printable(tensor));
    }
    most = std::max(most, std::fabs(value));
  }
  if (type == Type::F16 && most > f16_limit) {
    fail("{}: tensor {}: a value of {:g} is beyond what F16 holds; take --outtype f32", path,
         printable(tensor), most);
  }
}

std::vector<std::byte> encode_matrix(const std::vector<float>& values, Type type, const std::string& path,
                                     const std::string& tensor) {
  check_values(values, type, path, tensor);
  std::vector<std::byte> bytes(values.size() * (type == Type::F16 ? 2 : 4));
  find_encoder(type)(bytes.data(), values.data(), int64_t(values.size()), nullptr);
  return bytes;
}

}  // namespace lora
