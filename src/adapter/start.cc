#include "adapter/start.h"

#include <algorithm>
#include <cmath>

#include "adapter/dot.h"
#include "adapter/eigen.h"
#include "adapter/pairs.h"
#include "base/error.h"
#include "base/printable.h"

namespace lora {
namespace {

// M M^T, the lower triangle of (n_rows, n_rows).
std::vector<double> gram(const std::vector<float>& m, int64_t n_rows, int64_t n_cols, ThreadPool& pool) {
  constexpr int64_t tile = 32;  // rows of a tile stay in the cache
  std::vector<double> result(size_t(n_rows * n_rows));
  pool.run((n_rows + tile - 1) / tile, [&](int64_t task, int) {
    const int64_t begin = task * tile, end = std::min(n_rows, begin + tile);
    for (int64_t j = 0; j < end; ++j) {
      for (int64_t i = std::max(begin, j); i < end; ++i) {
        result[size_t(i * n_rows + j)] = dot(&m[size_t(i * n_cols)], &m[size_t(j * n_cols)], n_cols);
      }
    }
  });
  return result;
}

// (k, n_cols) = vectors (k, n_rows) times M (n_rows, n_cols).
std::vector<double> product(const std::vector<double>& vectors, const std::vector<float>& m, int64_t k,
                            int64_t n_rows, int64_t n_cols, ThreadPool& pool) {
  std::vector<double> result(size_t(k * n_cols));
  pool.for_range(n_cols, 256, [&](int64_t begin, int64_t end) {
    for (int64_t row = 0; row < n_rows; ++row) {
      for (int64_t i = 0; i < k; ++i) {
        const double factor = vectors[size_t(i * n_rows + row)];
        for (int64_t c = begin; c < end; ++c) {
          result[size_t(i * n_cols + c)] += factor * double(m[size_t(row * n_cols + c)]);
        }
      }
    }
  });
  return result;
}

// Rows of both sides with one norm: a product of two small numbers of a size loses the least in 16 bits.
Projection balanced(const std::vector<double>& directions, const std::vector<double>& projected, int64_t k,
                    int64_t n_out, int64_t n_in, int64_t rank) {
  Projection result{std::vector<float>(size_t(rank * n_out)), std::vector<float>(size_t(rank * n_in))};
  for (int64_t i = 0; i < k; ++i) {
    const double* d = &directions[size_t(i * n_out)];
    const double* p = &projected[size_t(i * n_in)];
    const double d_norm = std::sqrt(dot(d, d, n_out)), p_norm = std::sqrt(dot(p, p, n_in));
    if (d_norm == 0 || p_norm == 0) continue;
    const double factor = std::sqrt(p_norm / d_norm);
    for (int64_t c = 0; c < n_out; ++c) result.directions[size_t(i * n_out + c)] = float(d[c] * factor);
    for (int64_t c = 0; c < n_in; ++c) result.projected[size_t(i * n_in + c)] = float(p[c] / factor);
  }
  return result;
}

}  // namespace

Projection principal_part(const std::vector<float>& w, int64_t n_out, int64_t n_in, int64_t rank,
                          ThreadPool& pool) {
  const int64_t k = std::min({rank, n_out, n_in});
  // Of the smaller Gram matrix: left vectors U give U (U^T W), right ones V (W V) V^T.
  const bool left = n_out <= n_in;
  const std::vector<float> flipped = left ? std::vector<float>() : transposed(w, n_out, n_in);
  const std::vector<float>& m = left ? w : flipped;
  const int64_t n_rows = std::min(n_out, n_in), n_cols = std::max(n_out, n_in);
  std::vector<double> squares = gram(m, n_rows, n_cols, pool);
  const std::vector<double> vectors = top_eigenvectors(squares, n_rows, k, pool);
  const std::vector<double> images = product(vectors, m, k, n_rows, n_cols, pool);
  return left ? balanced(vectors, images, k, n_out, n_in, rank)
              : balanced(images, vectors, k, n_out, n_in, rank);
}

Projection first_columns_part(const std::vector<float>& w, int64_t n_out, int64_t n_in, int64_t rank,
                              ThreadPool& pool) {
  const int64_t k = std::min({rank, n_out, n_in});
  std::vector<double> q(size_t(k * n_out));
  for (int64_t i = 0; i < k; ++i) {  // Gram and Schmidt, twice, which is enough
    double* x = &q[size_t(i * n_out)];
    for (int64_t row = 0; row < n_out; ++row) x[row] = double(w[size_t(row * n_in + i)]);
    const double before = std::sqrt(dot(x, x, n_out));
    for (int twice = 0; twice < 2; ++twice) {
      for (int64_t other = 0; other < i; ++other) {
        const double* y = &q[size_t(other * n_out)];
        const double along = dot(x, y, n_out);
        for (int64_t row = 0; row < n_out; ++row) x[row] -= along * y[row];
      }
    }
    const double norm = std::sqrt(dot(x, x, n_out));
    if (!(norm > 1e-6 * before)) fail("column {} depends on those before it", i);
    for (int64_t row = 0; row < n_out; ++row) x[row] /= norm;
  }
  return balanced(q, product(q, w, k, n_out, n_in, pool), k, n_out, n_in, rank);
}

void make_plain(LoraPair& pair, LoraStart start, double scale, const BaseWeight& weight_of, ThreadPool& pool,
                const std::string& path) {
  if (start == LoraStart::plain || pair.base == kTokenEmbedding) return;
  if (pair.n_slices > 1)
    fail("{}: tensor {}: a start from the weights of experts is not supported", path, printable(pair.base));
  if (scale == 0) fail("{}: tensor {}: a start is not defined where alpha is 0", path, printable(pair.base));
  const std::vector<float> w = weight_of(pair.base);
  if (int64_t(w.size()) != pair.n_out * pair.n_in) {
    fail("{}: tensor {}: expected a pair for {} numbers, found {} x {}: an adapter for another model?", path,
         printable(pair.base), w.size(), pair.n_in, pair.n_out);
  }
  if (!std::all_of(w.begin(), w.end(), [](float x) { return std::isfinite(x); })) {
    fail("{}: tensor {}: the model's weight holds a value that is not finite", path, printable(pair.base));
  }
  Projection taken;
  try {
    const auto part = start == LoraStart::pissa ? principal_part : first_columns_part;
    taken = part(w, pair.n_out, pair.n_in, pair.rank, pool);
  } catch (const Error& e) {
    fail("{}: tensor {}: the start of the LoRA is not defined: {}", path, printable(pair.base), e.what());
  }
  const double c = start == LoraStart::pissa ? 1 / scale : 1;  // of the formula, divided by scale
  const int64_t rank = 2 * pair.rank;
  std::vector<float> b(size_t(pair.n_out * rank));
  for (int64_t row = 0; row < pair.n_out; ++row) {
    float* to = &b[size_t(row * rank)];
    std::copy_n(&pair.b[size_t(row * pair.rank)], pair.rank, to);
    for (int64_t r = 0; r < pair.rank; ++r) {
      to[pair.rank + r] = float(-c * double(taken.directions[size_t(r * pair.n_out + row)]));
    }
  }
  pair.a.insert(pair.a.end(), taken.projected.begin(), taken.projected.end());
  pair.b = std::move(b);
  pair.rank = rank;
}

}  // namespace lora
