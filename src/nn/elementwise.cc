#include "nn/elementwise.h"

#include <algorithm>
#include <cstring>

#include "base/elementary.h"

namespace lora {
namespace {

constexpr int64_t kGrain = 1 << 14;

}  // namespace

void copy(float* to, const float* from, int64_t n, ThreadPool& pool) {
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, size_t(end - begin) * sizeof(float));
  });
}

void set_zero(float* to, int64_t n, ThreadPool& pool) {
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) { std::fill(to + begin, to + end, 0.0f); });
}

void add(float* to, const float* from, float scale, int64_t n, ThreadPool& pool) {
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] += scale * from[i];
  });
}

void multiply(float* to, const float* from, float scale, int64_t n, ThreadPool& pool) {
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = scale * from[i];
  });
}

void clamp(float* to, const float* from, float most, int64_t n, ThreadPool& pool) {
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = from[i] > most ? most : from[i] < -most ? -most : from[i];
  });
}

void clamp_backward(float* d, const float* from, float most, int64_t n, ThreadPool& pool) {
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (from[i] >= most || from[i] <= -most) d[i] = 0;
    }
  });
}

void sigmoid_gate_forward(float* to, const float* gate, const float* x, int64_t n, ThreadPool& pool) {
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = x[i] / (1 + elementary::exp(-gate[i]));
  });
}

void sigmoid_gate_backward(float* dgate, float* d, const float* gate, const float* x, int64_t n,
                           ThreadPool& pool) {
  pool.for_range(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float s = 1 / (1 + elementary::exp(-gate[i]));
      dgate[i] = d[i] * x[i] * s * (1 - s);
      d[i] *= s;
    }
  });
}

}  // namespace lora
