#include "quant/q5.h"

#include <bit>

#include "quant/block.h"

namespace lora {
namespace {

int low(const uint8_t qs[16], uint32_t qh, int j) {
  return (qs[j] & 15) | int(qh >> j & 1) << 4;
}
int high(const uint8_t qs[16], uint32_t qh, int j) {
  return qs[j] >> 4 | int(qh >> (j + 16) & 1) << 4;
}

}  // namespace

void decode_q5_0(float* values, const std::byte* blocks, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockQ5_0)) {
    const auto block = load_block<BlockQ5_0>(blocks);
    const float d = to_f32(block.d);
    const auto qh = std::bit_cast<uint32_t>(block.qh);
    for (int j = 0; j < 16; ++j) values[j] = float(low(block.qs, qh, j) - 16) * d;
    for (int j = 0; j < 16; ++j) values[j + 16] = float(high(block.qs, qh, j) - 16) * d;
  }
}

void decode_q5_1(float* values, const std::byte* blocks, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockQ5_1)) {
    const auto block = load_block<BlockQ5_1>(blocks);
    const float d = to_f32(block.d), m = to_f32(block.m);
    const auto qh = std::bit_cast<uint32_t>(block.qh);
    for (int j = 0; j < 16; ++j) values[j] = float(low(block.qs, qh, j)) * d + m;
    for (int j = 0; j < 16; ++j) values[j + 16] = float(high(block.qs, qh, j)) * d + m;
  }
}

}  // namespace lora
