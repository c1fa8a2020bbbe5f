#include "kernels/decode/decode.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/decode/decode.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include "base/error.h"
#include "kernels/isa.h"
#include "quant/formats.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {

#define LORA_DECODER(type, values, bytes, decode, encode)                                                        \
  HWY_ATTR void Decode##type(float* HWY_RESTRICT out, const std::byte* HWY_RESTRICT blocks, int64_t n) { \
    decode(out, blocks, n);                                                                              \
  }
LORA_FOR_EACH_FORMAT(LORA_DECODER)
#undef LORA_DECODER

using Decoder = void (*)(float*, const std::byte*, int64_t);

Decoder Find(Type wanted) {
#define LORA_CASE(type, values, bytes, decode, encode) \
  if (wanted == Type::type) return Decode##type;
  LORA_FOR_EACH_FORMAT(LORA_CASE)
#undef LORA_CASE
  return nullptr;
}

}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {

HWY_EXPORT(Find);

RowDecoder::RowDecoder(const MatrixView& matrix)
    : decode_(isa() == Isa::scalar ? traits(matrix.type).decode : HWY_DYNAMIC_DISPATCH(Find)(matrix.type)),
      data_(matrix.data),
      row_bytes_(matrix.row_bytes()),
      block_size_(traits(matrix.type).block_size),
      block_bytes_(traits(matrix.type).block_bytes) {
  if (!decode_) fail("tensor type {}: holds no weights, cannot be decoded", traits(matrix.type).name);
}

}  // namespace lora
#endif
