// Loops over numbers that are bound by memory and stand for themselves.
#pragma once

#include <cstdint>

#include "base/parallel.h"

namespace lora {

void copy(float* to, const float* from, int64_t n, ThreadPool& pool);

void set_zero(float* to, int64_t n, ThreadPool& pool);

// to += scale * from
void add(float* to, const float* from, float scale, int64_t n, ThreadPool& pool);

// to = scale * from; may be the same.
void multiply(float* to, const float* from, float scale, int64_t n, ThreadPool& pool);

// to = from, from -most to most; may be the same.
void clamp(float* to, const float* from, float most, int64_t n, ThreadPool& pool);
// The gradient of that: d becomes 0 where `from`, or what it became, is at a bound or beyond.
void clamp_backward(float* d, const float* from, float most, int64_t n, ThreadPool& pool);

// to = x / (1 + exp(-gate)); may be x.
void sigmoid_gate_forward(float* to, const float* gate, const float* x, int64_t n, ThreadPool& pool);
// d becomes the gradient of x; dgate, which may be the gate, that of the gate.
void sigmoid_gate_backward(float* dgate, float* d, const float* gate, const float* x, int64_t n,
                           ThreadPool& pool);

}  // namespace lora
