#include "quant/q4_k.h"

#include "quant/block.h"
#include "quant/k_scales.h"

namespace lora {

void decode_q4_k(float* values, const std::byte* blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, values += k_block_size, blocks += sizeof(BlockQ4_K)) {
    const auto block = load_block<BlockQ4_K>(blocks);
    const float d = to_f32(block.d), dmin = to_f32(block.dmin);
    const KScales k = unpack_k_scales(block.scales);
    for (int group = 0; group < 8; ++group) {
      const uint8_t* q = block.qs + group / 2 * 32;
      const int shift = group % 2 * 4;
      const float scale = d * float(k.scales[group]), minimum = dmin * float(k.minimums[group]);
      float* y = values + group * 32;
      for (int l = 0; l < 32; ++l) y[l] = scale * float(q[l] >> shift & 15) - minimum;
    }
  }
}

}  // namespace lora
