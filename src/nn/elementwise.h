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

}  // namespace lora
