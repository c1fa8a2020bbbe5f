// For tests of layers and bodies: random numbers in double, a layer in f32 over those of its reference, and
// what computing takes.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "nn/context.h"
#include "nn/linear.h"
#include "nn/linear_reference.h"

namespace lora::test {

using Values = std::vector<double>;

// From -size to size.
inline Values random_values(uint64_t stream, int64_t n, double size = 1) {
  Values v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = size * (2.0 * random_uniform(3, Purpose::test, stream, i) - 1);
  return v;
}

inline std::vector<float> to_float(const Values& v) {
  return {v.begin(), v.end()};
}

// The norm of the difference over the norm of what is wanted.
double relative_difference(const auto& got, const auto& want) {
  double difference = 0, norm = 1e-30;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += (double(got[i]) - double(want[i])) * (double(got[i]) - double(want[i]));
    norm += double(want[i]) * double(want[i]);
  }
  return std::sqrt(difference / norm);
}

// A layer in f32 over the same numbers, with gradients to add to.
struct Layer {
  std::vector<float> w, a, b, da, db;
  Linear linear;

  explicit Layer(const LinearReference<double>& r)
      : w(to_float(r.w)), a(to_float(r.a)), b(to_float(r.b)), da(a.size()), db(b.size()) {
    linear.w = f32_matrix(w.data(), r.n_out, r.n_in);
    linear.loras = {{a.data(), b.data(), r.rank, float(r.scale), da.data(), db.data()}};
  }
};

struct Machinery {
  explicit Machinery(int n_threads = 2) : pool(n_threads), scratch(n_threads) {}
  ThreadPool pool;
  GemmScratch scratch;
  Arena arena{int64_t{8} << 20};
  NnContext nn{pool, GemmInput::f32, scratch, arena};
};

}  // namespace lora::test
