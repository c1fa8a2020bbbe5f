#include "quant/iq4.h"

#include "quant/block.h"

namespace lora {
namespace {

void decode_group(float* values, const uint8_t qs[16], float scale) {
  for (int j = 0; j < 16; ++j) values[j] = scale * float(iq4_values[qs[j] & 15]);
  for (int j = 0; j < 16; ++j) values[j + 16] = scale * float(iq4_values[qs[j] >> 4]);
}

}  // namespace

void decode_iq4_nl(float* values, const std::byte* blocks, int64_t n) {
  for (; n > 0; n -= 32, values += 32, blocks += sizeof(BlockIQ4_NL)) {
    const auto block = load_block<BlockIQ4_NL>(blocks);
    decode_group(values, block.qs, to_f32(block.d));
  }
}

void decode_iq4_xs(float* values, const std::byte* blocks, int64_t n) {
  for (; n > 0; n -= k_block_size, values += k_block_size, blocks += sizeof(BlockIQ4_XS)) {
    const auto block = load_block<BlockIQ4_XS>(blocks);
    const float d = to_f32(block.d);
    for (int group = 0; group < 8; ++group) {
      const int low = block.scales_l[group / 2] >> group % 2 * 4 & 15;
      const int high = block.scales_h >> group * 2 & 3;
      decode_group(values + group * 32, block.qs + group * 16, d * float((low | high << 4) - 32));
    }
  }
}

}  // namespace lora
