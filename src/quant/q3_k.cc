#include "quant/q3_k.h"

#include "quant/block.h"

namespace lora {
namespace {

int scale_of(const uint8_t scales[12], int group) {
  const int low = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4;
  const int high = scales[8 + group % 4] >> group / 4 * 2 & 3;
  return (low | high << 4) - 32;
}

}  // namespace

void decode_q3_k(float* values, const std::byte* blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, values += k_block_size, blocks += sizeof(BlockQ3_K)) {
    const auto block = load_block<BlockQ3_K>(blocks);
    const float d = to_f32(block.d);
    for (int group = 0; group < 16; ++group) {
      const int half = group / 8, shift = group % 8 / 2 * 2, high_bit = group / 2;
      const uint8_t* q = block.qs + half * 32 + group % 2 * 16;
      const uint8_t* h = block.hmask + group % 2 * 16;
      const float scale = d * float(scale_of(block.scales, group));
      float* y = values + group * 16;
      for (int l = 0; l < 16; ++l) {
        y[l] = scale * float(((q[l] >> shift & 3) | (h[l] >> high_bit & 1) << 2) - 4);
      }
    }
  }
}

}  // namespace lora
