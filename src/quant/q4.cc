#include "quant/q4.h"

#include "quant/block.h"

namespace lora {

void decode_q4_0(float* values, const std::byte* blocks, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockQ4_0)) {
    const auto block = load_block<BlockQ4_0>(blocks);
    const float d = to_f32(block.d);
    for (int j = 0; j < 16; ++j) values[j] = float((block.qs[j] & 15) - 8) * d;
    for (int j = 0; j < 16; ++j) values[j + 16] = float((block.qs[j] >> 4) - 8) * d;
  }
}

void decode_q4_1(float* values, const std::byte* blocks, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockQ4_1)) {
    const auto block = load_block<BlockQ4_1>(blocks);
    const float d = to_f32(block.d), m = to_f32(block.m);
    for (int j = 0; j < 16; ++j) values[j] = float(block.qs[j] & 15) * d + m;
    for (int j = 0; j < 16; ++j) values[j + 16] = float(block.qs[j] >> 4) * d + m;
  }
}

}  // namespace lora
