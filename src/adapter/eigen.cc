#include "adapter/eigen.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "adapter/dot.h"
#include "base/random.h"

namespace lora {
namespace {

// T has diagonal (n) and off_diagonal (n - 1): T = H_{n-3} ... H_0 A H_0 ... H_{n-3}, H_j = 1 - beta_j v_j
// v_j^T with v_j in a[j][j + 1 .. n).
struct Tridiagonal {
  std::vector<double> diagonal, off_diagonal, beta;
};

// One pass over the rows below `column` of the lower triangle: takes v w^T + w v^T off, and returns B u for
// the matrix B that results. Vectors are (n), counted as rows are.
struct Pass {
  double* a;
  int64_t n, column;
  const double *v, *w, *u;

  // Rows [begin, end): B's lower triangle times u, and its mirror image into the rows above.
  void rows(int64_t begin, int64_t end, double* product) const {
    for (int64_t i = begin; i < end; ++i) {
      double* row = a + i * n;
      const double vi = v[i], wi = w[i], ui = u[i];
      for (int64_t c = column + 1; c <= i; ++c) row[c] -= vi * w[c] + wi * v[c];
      for (int64_t c = column + 1; c < i; ++c) product[c] += row[c] * ui;
      product[i] += dot(row + column + 1, u + column + 1, i - column);
    }
  }
};

Tridiagonal reduce(std::vector<double>& matrix, int64_t n, ThreadPool& pool) {
  constexpr int64_t n_parts = 32;  // a constant, so that sums have one order
  double* a = matrix.data();
  Tridiagonal t{std::vector<double>(size_t(n)), std::vector<double>(size_t(std::max<int64_t>(n - 1, 0))),
                std::vector<double>(size_t(n))};
  std::vector<double> v(static_cast<size_t>(n)), w(v), u(v), product(v), parts(size_t(n_parts * n));
  for (int64_t j = 0; j < n; ++j) {
    // v and w are the step before's: of this column they are taken off now, of the rest in the pass below.
    for (int64_t i = j; i < n; ++i) a[i * n + j] -= v[size_t(i)] * w[size_t(j)] + w[size_t(i)] * v[size_t(j)];
    t.diagonal[size_t(j)] = a[j * n + j];
    if (j + 1 == n) break;
    const int64_t first = j + 1, m = n - first;
    std::fill(u.begin(), u.end(), 0.0);
    for (int64_t i = first; i < n; ++i) u[size_t(i)] = a[i * n + j];
    const double norm = std::sqrt(dot(&u[size_t(first)], &u[size_t(first)], m));
    const double head = u[size_t(first)];
    t.off_diagonal[size_t(j)] = m == 1 ? head : head > 0 ? -norm : norm;
    const bool reflects = m > 1 && norm > 0;
    if (reflects) u[size_t(first)] -= t.off_diagonal[size_t(j)];
    const double beta = reflects ? 2 / dot(&u[size_t(first)], &u[size_t(first)], m) : 0;
    t.beta[size_t(j)] = beta;
    std::copy_n(&u[size_t(first)], m, a + j * n + first);  // the upper triangle is free

    std::fill(parts.begin(), parts.end(), 0.0);
    const Pass pass{a, n, j, v.data(), w.data(), u.data()};
    const auto bound = [&](int64_t part) {  // rows of about the same area
      return first + int64_t(double(m) * std::sqrt(double(part) / n_parts));
    };
    const auto one_part = [&](int64_t part, int) {
      pass.rows(bound(part), part + 1 == n_parts ? n : bound(part + 1), &parts[size_t(part * n)]);
    };
    if (m >= 200) {
      pool.run(n_parts, one_part);
    } else {  // sooner done than other threads wake
      for (int64_t part = 0; part < n_parts; ++part) one_part(part, 0);
    }
    std::fill(product.begin(), product.end(), 0.0);
    for (int64_t part = 0; part < n_parts; ++part) {
      for (int64_t i = first; i < n; ++i) product[size_t(i)] += parts[size_t(part * n + i)];
    }
    // H B H = B - u w^T - w u^T with w = p - (beta p.u / 2) u, p = beta B u.
    const double half = beta * beta * dot(&product[size_t(first)], &u[size_t(first)], m) / 2;
    std::fill(w.begin(), w.end(), 0.0);
    for (int64_t i = first; i < n; ++i) w[size_t(i)] = beta * product[size_t(i)] - half * u[size_t(i)];
    std::swap(v, u);
  }
  return t;
}

// How many eigenvalues are below x (Sturm).
int64_t count_below(const Tridiagonal& t, double x, double tiny) {
  int64_t count = 0;
  double q = 1;
  for (size_t i = 0; i < t.diagonal.size(); ++i) {
    const double e = i == 0 ? 0 : t.off_diagonal[i - 1];
    q = t.diagonal[i] - x - (i == 0 ? 0 : e * e / q);
    if (std::fabs(q) < tiny) q = -tiny;
    count += q < 0;
  }
  return count;
}

// The eigenvalue with `index` smaller ones, in [low, high].
double bisect(const Tridiagonal& t, int64_t index, double low, double high, double tiny) {
  for (int step = 0; step < 200; ++step) {
    const double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) break;
    (count_below(t, middle, tiny) <= index ? low : high) = middle;
  }
  return low + (high - low) / 2;
}

// T - shift = L U with row exchanges; U has three diagonals.
struct Factors {
  std::vector<double> u0, u1, u2, l;
  std::vector<char> swapped;

  Factors(const Tridiagonal& t, double shift, double tiny)
      : u0(t.diagonal.size()), u1(u0), u2(u0), l(u0), swapped(u0.size()) {
    const size_t n = u0.size();
    double pivot = t.diagonal[0] - shift, next = n > 1 ? t.off_diagonal[0] : 0;
    for (size_t i = 1; i < n; ++i) {
      const double below = t.off_diagonal[i - 1], diagonal = t.diagonal[i] - shift;
      const double above = i + 1 < n ? t.off_diagonal[i] : 0;
      if (std::fabs(below) > std::fabs(pivot)) {
        swapped[i] = 1;
        l[i] = pivot / below;
        u0[i - 1] = below, u1[i - 1] = diagonal, u2[i - 1] = above;
        pivot = next - l[i] * diagonal;
        next = -l[i] * above;
      } else {
        if (std::fabs(pivot) < tiny) pivot = tiny;
        l[i] = below / pivot;
        u0[i - 1] = pivot, u1[i - 1] = next;
        pivot = diagonal - l[i] * next;
        next = above;
      }
    }
    u0[n - 1] = std::fabs(pivot) < tiny ? tiny : pivot;
  }

  void solve(double* x) const {
    const size_t n = u0.size();
    for (size_t i = 1; i < n; ++i) {
      if (swapped[i]) std::swap(x[i - 1], x[i]);
      x[i] -= l[i] * x[i - 1];
    }
    for (size_t i = n; i-- > 0;) {
      if (i + 1 < n) x[i] -= u1[i] * x[i + 1];
      if (i + 2 < n) x[i] -= u2[i] * x[i + 2];
      x[i] /= u0[i];
    }
  }
};

void normalize(double* x, int64_t n) {
  double most = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, std::fabs(x[i]));
  for (int64_t i = 0; i < n; ++i) x[i] /= most;  // squares of what a solution grows to may overflow
  const double norm = std::sqrt(dot(x, x, n));
  for (int64_t i = 0; i < n; ++i) x[i] /= norm;
}

}  // namespace

std::vector<double> top_eigenvectors(std::vector<double>& a, int64_t n, int64_t k, ThreadPool& pool) {
  double most = 0;
  for (const double x : a) most = std::max(most, std::fabs(x));
  if (most > 0) {
    for (double& x : a) x /= most;  // so that squares neither overflow nor vanish
  }
  const Tridiagonal t = reduce(a, n, pool);
  double low = 0, high = 0;  // Gershgorin's bounds
  for (size_t i = 0; i < size_t(n); ++i) {
    const double radius = (i > 0 ? std::fabs(t.off_diagonal[i - 1]) : 0) +
                          (i + 1 < size_t(n) ? std::fabs(t.off_diagonal[i]) : 0);
    low = std::min(low, t.diagonal[i] - radius);
    high = std::max(high, t.diagonal[i] + radius);
  }
  const double tiny = std::max(std::max(-low, high) * std::numeric_limits<double>::epsilon() / 4, 1e-290);

  std::vector<double> vectors(size_t(k * n));
  std::vector<double> values(static_cast<size_t>(k));
  pool.run(k, [&](int64_t i, int) { values[size_t(i)] = bisect(t, n - 1 - i, low, high, tiny); });
  for (int64_t i = 0; i < k; ++i) {
    double* x = &vectors[size_t(i * n)];
    for (int64_t c = 0; c < n; ++c)
      x[c] = random_uniform(0, Purpose::lora_init, uint64_t(i), uint64_t(c)) - 0.5;
    const Factors factors(t, values[size_t(i)], tiny);
    for (int step = 0; step < 4; ++step) {
      factors.solve(x);
      normalize(x, n);
      for (int twice = 0; twice < 2; ++twice) {  // equal eigenvalues give each its own direction
        for (int64_t other = 0; other < i; ++other) {
          const double* y = &vectors[size_t(other * n)];
          const double along = dot(x, y, n);
          for (int64_t c = 0; c < n; ++c) x[c] -= along * y[c];
        }
      }
      normalize(x, n);
    }
  }
  // Back to A's coordinates, a few vectors at a time.
  constexpr int64_t group = 8;
  pool.run((k + group - 1) / group, [&](int64_t task, int) {
    const int64_t end = std::min(k, (task + 1) * group);
    for (int64_t j = n - 2; j-- > 0;) {
      const double* v = a.data() + j * n;
      for (int64_t i = task * group; i < end; ++i) {
        double* x = &vectors[size_t(i * n)];
        const double s = t.beta[size_t(j)] * dot(v + j + 1, x + j + 1, n - j - 1);
        for (int64_t c = j + 1; c < n; ++c) x[c] -= s * v[c];
      }
    }
  });
  return vectors;
}

}  // namespace lora
