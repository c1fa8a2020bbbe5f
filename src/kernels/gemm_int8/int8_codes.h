// Quantized weights as codes of one byte, one form for all formats, as products of many tokens in integers
// want them:
//
//   w = scale (code - offset) - minimum,   code in 0 .. max_code; scale and minimum of `group` weights
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/types.h"

namespace lora {

struct Int8Codes {
  int group = 0;  // 16 or 32; 0: no such form
  int offset = 0;
  int max_code = 0;  // 0: codes are signed, -128 .. 127
  bool has_minimums = false;
  // n weights that begin with a block: codes (n), scales and minimums (n / group).
  void (*unpack)(uint8_t* codes, float* scales, float* minimums, const std::byte* blocks,
                 int64_t n) = nullptr;
};

// A file each; none for other types, and where the build is for another processor.
Int8Codes scalar_int8_codes(Type type);
Int8Codes avx2_int8_codes(Type type);
Int8Codes avx_vnni_int8_codes(Type type);
Int8Codes avx512_vnni_int8_codes(Type type);
Int8Codes neon_int8_codes(Type type);

}  // namespace lora
