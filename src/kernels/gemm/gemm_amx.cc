// bf16 micro-kernel on Intel's tile unit (AMX-BF16).
//
// Tiles (Intel SDM, TDPBF16PS): A is 16 rows of 32 bf16, B is 16 rows of 16 pairs of bf16 (two
// consecutive k side by side), C is 16 x 16 f32: C += A B over 32 k. With 2 x 2 tiles of C each
// loaded A and B tile is used twice: 4 loads for 4 products, which is what the load ports keep up with.
// AMX has no denormals: inputs and results that are denormal count as zero.
#include "kernels/gemm/micro_kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "base/half.h"

#ifdef LORA_EMULATE_AMX
#include "kernels/gemm/amx_emulated.h"
#endif

#define LORA_AMX __attribute__((target("amx-tile,amx-bf16")))

namespace lora {
namespace {

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// In static memory: GCC 12's intrinsic declares only eight of the 64 bytes as read.
constexpr TileConfig kConfig;

LORA_AMX void begin() {
  _tile_loadconfig(&kConfig);
}

LORA_AMX void end() {
  _tile_release();
}

// Tile names: 0-3 C (row-major 2 x 2), 4-5 A, 6-7 B.
LORA_AMX void tile(float* c, int64_t ldc, const void* left, int64_t ldl, const void* right, int64_t k,
                   bool accumulate) {
  const bf16* l = static_cast<const bf16*>(left);
  const bf16* r = static_cast<const bf16*>(right);
  const int64_t c_stride = ldc * 4, l_stride = ldl * 2;
  constexpr int64_t r_stride = 32 * 2 * 2;  // one row of pairs of a 32-lane panel
  if (accumulate) {
    _tile_loadd(0, c, c_stride);
    _tile_loadd(1, c + 16, c_stride);
    _tile_loadd(2, c + 16 * ldc, c_stride);
    _tile_loadd(3, c + 16 * ldc + 16, c_stride);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t p = 0; p < k; p += 32) {
    // Of the sums below these, which mostly are next: waiting for them took a seventh of the time.
    for (const float* next = c + (32 + p / 8) * ldc; next < c + (36 + p / 8) * ldc; next += ldc) {
      __builtin_prefetch(next, 1);
      __builtin_prefetch(next + 16, 1);
    }
    _tile_loadd(4, l + p, l_stride);
    _tile_loadd(6, r + p * 32, r_stride);
    _tile_loadd(7, r + p * 32 + 32, r_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, l + 16 * ldl + p, l_stride);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, c_stride);
  _tile_stored(1, c + 16, c_stride);
  _tile_stored(2, c + 16 * ldc, c_stride);
  _tile_stored(3, c + 16 * ldc + 16, c_stride);
}

}  // namespace

MicroKernel amx_micro_kernel() {
  return {32, 32, 2, 32, 256, tile, begin, end};
}

}  // namespace lora

#else

#include "base/error.h"

namespace lora {
MicroKernel amx_micro_kernel() {
  fail("amx: this build has no such kernels");
}
}  // namespace lora

#endif
