// The plain micro-kernel: the same layouts as the fast ones, one multiply-add at a time.
#include <cmath>

#include "base/half.h"
#include "kernels/gemm/micro_kernel.h"

namespace lora {
namespace {

constexpr int kMr = 4, kNr = 8;

float load(const float* p) {
  return *p;
}
float load(const bf16* p) {
  return to_f32(*p);
}

template <class T, int kPair>
void tile(float* c, int64_t ldc, const void* left, int64_t ldl, const void* right, int64_t k,
          bool accumulate) {
  const T* l = static_cast<const T*>(left);
  const T* r = static_cast<const T*>(right);
  for (int i = 0; i < kMr; ++i) {
    float sum[kNr];
    for (int j = 0; j < kNr; ++j) sum[j] = accumulate ? c[i * ldc + j] : 0.0f;
    for (int64_t p = 0; p < k; ++p) {
      const float a = load(l + i * ldl + p);
      const T* row = r + p / kPair * kNr * kPair + p % kPair;
      for (int j = 0; j < kNr; ++j) sum[j] += a * load(row + j * kPair);
    }
    for (int j = 0; j < kNr; ++j) c[i * ldc + j] = sum[j];
  }
}

}  // namespace

MicroKernel scalar_micro_kernel(GemmInput input) {
  if (input == GemmInput::f32) return {kMr, kNr, 1, 1, 256, tile<float, 1>, nullptr, nullptr};
  return {kMr, kNr, 2, 2, 256, tile<bf16, 2>, nullptr, nullptr};
}

}  // namespace lora
