#include "quant/q8.h"

#include "quant/block.h"

namespace lora {

void decode_q8_0(float* values, const std::byte* blocks, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockQ8_0)) {
    const auto block = load_block<BlockQ8_0>(blocks);
    const float d = to_f32(block.d);
    for (int j = 0; j < 32; ++j) values[j] = float(block.qs[j]) * d;
  }
}

}  // namespace lora
