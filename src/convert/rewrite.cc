#include "convert/rewrite.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/machine.h"
#include "base/printable.h"
#include "convert/encode.h"
#include "kernels/decode/decode.h"

namespace lora {
namespace {

// Values that a thread takes at once: they and their encoding fit its cache.
constexpr int64_t kPieceValues = 1 << 16;

// Adds scale * (row of left) right to n values of the row. The sum over the rank has a fixed order.
bool changes_row(const LowRank& change, int64_t row) {
  const float* left = change.left + row * change.row_stride;
  for (int64_t k = 0; k < change.rank; ++k) {
    if (left[k * change.rank_stride] != 0) return true;
  }
  return false;
}

void add_low_rank(const LowRank& change, int64_t row, float* __restrict values, int64_t n) {
  constexpr int64_t kAtOnce = 4;
  const float* left = change.left + row * change.row_stride;
  const auto factor = [&](int64_t k) { return change.scale * left[k * change.rank_stride]; };
  const int64_t slice = change.rows_per_slice > 0 ? row / change.rows_per_slice : 0;
  const float* right = change.right + slice * change.rank * n;
  int64_t k = 0;
  for (; k + kAtOnce <= change.rank; k += kAtOnce) {
    const float f0 = factor(k), f1 = factor(k + 1), f2 = factor(k + 2), f3 = factor(k + 3);
    const float *r0 = right + k * n, *r1 = r0 + n, *r2 = r1 + n, *r3 = r2 + n;
    for (int64_t i = 0; i < n; ++i) values[i] += (f0 * r0[i] + f1 * r1[i]) + (f2 * r2[i] + f3 * r3[i]);
  }
  for (; k < change.rank; ++k) {
    const float f = factor(k);
    const float* r = right + k * n;
    for (int64_t i = 0; i < n; ++i) values[i] += f * r[i];
  }
}

// values: w + d; changes: d, or nullptr for none.
RewriteSums sums_of(const float* values, const float* changes, const float* stored, size_t n) {
  RewriteSums sums;
  for (size_t i = 0; i < n; ++i) {
    const double d = changes ? double(changes[i]) : 0, e = double(stored[i]) - double(values[i]);
    const double w = double(values[i]) - d;
    sums.weight += w * w;
    sums.change += d * d;
    sums.error += e * e;
    sums.error_change += e * d;
  }
  return sums;
}

bool all_finite(const std::vector<float>& values) {
  return std::ranges::all_of(values, [](float v) { return std::isfinite(v); });
}

double root_ratio(double a, double b) {
  return b > 0 ? std::sqrt(a / b) : a > 0 ? std::numeric_limits<double>::infinity() : 0;
}

}  // namespace

void RewriteSums::add(const RewriteSums& other) {
  weight += other.weight;
  change += other.change;
  error += other.error;
  error_change += other.error_change;
}
double RewriteSums::relative_error() const {
  return root_ratio(error, weight);
}
double RewriteSums::relative_change() const {
  return root_ratio(change, weight);
}
double RewriteSums::error_of_change() const {
  return root_ratio(error, change);
}
double RewriteSums::kept() const {
  return change > 0 ? 1 + error_change / change : 1;
}

TensorRewriter::TensorRewriter(std::string path, int threads)
    : path_(std::move(path)),
      pool_(threads > 0 ? threads : physical_cores()),
      buffers_(size_t(pool_.size())) {}

RewriteSums TensorRewriter::rewrite(const GgufTensor& tensor, const Rewrite& how, GgufOutput& out,
                                    size_t index) {
  const MatrixView matrix = tensor.matrix();
  const int64_t n_cols = matrix.n_cols, n_rows = matrix.n_rows;
  const RowDecoder decode(matrix);
  const int64_t row_bytes = MatrixView{how.to, nullptr, n_rows, n_cols}.row_bytes();
  const int64_t rows_at_once = std::max<int64_t>(1, kPieceValues / n_cols);
  const int64_t n_pieces = (n_rows + rows_at_once - 1) / rows_at_once;
  const std::vector<float> weights =  // (n_experts or 1, n_cols), or none
      how.importance ? column_weights(*how.importance, n_cols) : std::vector<float>();
  std::vector<RewriteSums> sums(how.measure ? size_t(n_pieces) : 0);

  pool_.run(n_pieces, [&](int64_t piece, int worker) {
    Buffers& b = buffers_[size_t(worker)];
    const int64_t begin = piece * rows_at_once, n = std::min(rows_at_once, n_rows - begin);
    const auto n_values = size_t(n * n_cols);
    b.values.resize(n_values);
    b.changes.assign(how.changes.empty() ? 0 : n_values, 0);
    b.blocks.resize(size_t(n * row_bytes));
    for (int64_t r = 0; r < n; ++r) {
      float* values = b.values.data() + r * n_cols;
      decode(values, begin + r, 0, n_cols);
      if (how.changes.empty()) continue;
      float* changes = b.changes.data() + r * n_cols;
      for (const LowRank& change : how.changes) add_low_rank(change, begin + r, changes, n_cols);
      for (int64_t i = 0; i < n_cols; ++i) values[i] += changes[i];
    }
    try {
      if (weights.empty()) {
        encode_values(how.to, b.blocks.data(), b.values.data(), n * n_cols);
      } else {
        const int64_t rows_per_expert = tensor.ne[1], n_weights = int64_t(weights.size());
        for (int64_t r = 0; r < n; ++r) {
          encode_values(how.to, b.blocks.data() + r * row_bytes, b.values.data() + r * n_cols, n_cols,
                        weights.data() + (begin + r) / rows_per_expert * n_cols % n_weights);
        }
      }
    } catch (const Error& e) {
      const bool overflown = !all_finite(b.values) && [&] {
        for (int64_t r = 0; r < n; ++r) decode(b.values.data() + r * n_cols, begin + r, 0, n_cols);
        return all_finite(b.values);
      }();
      fail("{}: tensor '{}', rows {} to {}: {}", path_, printable(tensor.name), begin, begin + n - 1,
           overflown ? "the sum with the adapters is not finite" : e.what());
    }
    // Rows that no adapter changes, as those of experts without one, keep their bytes where they keep their
    // type.
    for (int64_t r = 0; r < n && how.to == tensor.type && !how.changes.empty(); ++r) {
      const bool is_changed = std::ranges::any_of(
          how.changes, [&](const LowRank& change) { return changes_row(change, begin + r); });
      if (!is_changed) std::memcpy(b.blocks.data() + r * row_bytes, matrix.row(begin + r), size_t(row_bytes));
    }
    out.write(index, uint64_t(begin * row_bytes), b.blocks);
    if (!how.measure) return;
    b.decoded.resize(n_values);
    const RowDecoder decode_stored({how.to, b.blocks.data(), 1, n * n_cols});
    decode_stored(b.decoded.data(), 0, 0, n * n_cols);
    sums[size_t(piece)] = sums_of(b.values.data(), how.changes.empty() ? nullptr : b.changes.data(),
                                  b.decoded.data(), n_values);
  });
  RewriteSums total;
  for (const RewriteSums& s : sums) total.add(s);
  return total;
}

void TensorRewriter::copy(const GgufTensor& tensor, GgufOutput& out, size_t index) {
  constexpr int64_t piece = int64_t{1} << 20;
  const auto n = int64_t(tensor.data.size());
  pool_.run((n + piece - 1) / piece, [&](int64_t i, int) {
    out.write(index, uint64_t(i * piece),
              tensor.data.subspan(size_t(i * piece), size_t(std::min(piece, n - i * piece))));
  });
}

uint64_t bytes_of(const GgufTensor& tensor, Type type) {
  const TypeTraits& t = traits(type);
  return uint64_t(tensor.n_elements() / t.block_size * t.block_bytes);
}

GgufWriter copied_keys(const Gguf& model) {
  GgufWriter writer;
  for (const auto& [key, value] : model.values()) {
    if (!key.starts_with("split.")) writer.set(key, value);
  }
  return writer;
}

void expect_model(const Gguf& model) {
  const std::string type = model.get_string("general.type").value_or("model");
  if (type != "model") fail("{}: holds '{}', expected a model", model.path(), printable(type));
  if (model.tensors().empty()) fail("{}: a vocabulary without tensors, expected a model", model.path());
}

}  // namespace lora
