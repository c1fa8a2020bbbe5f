#include "quant/q2_k.h"

#include "quant/block.h"

namespace lora {

void decode_q2_k(float* values, const std::byte* blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, values += k_block_size, blocks += sizeof(BlockQ2_K)) {
    const auto block = load_block<BlockQ2_K>(blocks);
    const float d = to_f32(block.d), dmin = to_f32(block.dmin);
    for (int group = 0; group < 16; ++group) {
      const int half = group / 8, shift = group % 8 / 2 * 2;
      const uint8_t* q = block.qs + half * 32 + group % 2 * 16;
      const float scale = d * float(block.scales[group] & 15);
      const float minimum = dmin * float(block.scales[group] >> 4);
      float* y = values + group * 16;
      for (int l = 0; l < 16; ++l) y[l] = scale * float(q[l] >> shift & 3) - minimum;
    }
  }
}

}  // namespace lora
