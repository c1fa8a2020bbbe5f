#include "quant/q6_k.h"

#include "quant/block.h"

namespace lora {

void decode_q6_k(float* values, const std::byte* blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, values += k_block_size, blocks += sizeof(BlockQ6_K)) {
    const auto block = load_block<BlockQ6_K>(blocks);
    const float d = to_f32(block.d);
    for (int group = 0; group < 16; ++group) {
      const int half = group / 8, s = group % 8 / 2, l0 = group % 2 * 16;
      const uint8_t* ql = block.ql + half * 64 + s % 2 * 32 + l0;
      const uint8_t* qh = block.qh + half * 32 + l0;
      const int low_shift = s / 2 * 4, high_shift = s * 2;
      const float scale = d * float(block.scales[group]);
      float* y = values + group * 16;
      for (int l = 0; l < 16; ++l) {
        y[l] = scale * float(((ql[l] >> low_shift & 15) | (qh[l] >> high_shift & 3) << 4) - 32);
      }
    }
  }
}

}  // namespace lora
