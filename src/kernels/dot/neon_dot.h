// ARM's dot products of bytes (SDOT), for functions between HWY_PUSH_ATTRIBUTES(LORA_NEON_DOT) and
// HWY_POP_ATTRIBUTES: a whole file of such instructions would have them in what it shares with other files.
#pragma once

#include <arm_neon.h>

// Clang takes GCC's form from version 16 on.
#if defined(__clang__)
#define LORA_NEON_DOT "dotprod"
#else
#define LORA_NEON_DOT "arch=armv8.2-a+dotprod"
#endif

// Before that its arm_neon.h declares them for whole files alone; this is how it does.
#if defined(__clang__) && __clang_major__ < 16 && !defined(__ARM_FEATURE_DOTPROD)
#define vdotq_s32(sum, a, b) \
  static_cast<int32x4_t>(__builtin_neon_vdotq_v(vreinterpretq_s8_s32(sum), a, b, 34))
#define vdotq_laneq_s32(sum, a, b, lane) \
  vdotq_s32(sum, a, vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(b), lane)))
#endif
