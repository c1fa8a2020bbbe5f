#include "kernels/decode/decode.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/decode/decode.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include "base/error.h"
#include "kernels/gemm/pack.h"
#include "kernels/isa.h"
#include "quant/formats.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {

#define LORA_DECODER(type, values, bytes, decode, encode)                                                \
  HWY_ATTR void Decode##type(float* HWY_RESTRICT out, const std::byte* HWY_RESTRICT blocks, int64_t n) { \
    decode(out, blocks, n);                                                                              \
  }
LORA_FOR_EACH_FORMAT(LORA_DECODER)
#undef LORA_DECODER

// f16 by the processor's own conversion: a quarter of the instructions, and the same numbers.
HWY_ATTR void DecodeHalves(float* HWY_RESTRICT out, const std::byte* HWY_RESTRICT blocks, int64_t n) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> half;
  const int64_t lanes = int64_t(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto* from = reinterpret_cast<const hwy::float16_t*>(blocks + i * int64_t(sizeof(f16)));
    hn::StoreU(hn::PromoteTo(d, hn::LoadU(half, from)), d, out + i);
  }
  DecodeF16(out + i, blocks + i * int64_t(sizeof(f16)), n - i);
}

using Decoder = void (*)(float*, const std::byte*, int64_t);

Decoder Find(Type wanted) {
  if (wanted == Type::F16) return DecodeHalves;
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

namespace {

F32Decoder find_f32_decoder(Type type) {
  if (isa() == Isa::scalar) return traits(type).decode;
  const F32Decoder by_codes = isa() == Isa::neon ? neon_decoder(type) : avx2_decoder(type);
  return by_codes ? by_codes : HWY_DYNAMIC_DISPATCH(Find)(type);
}

}  // namespace

RowDecoder::RowDecoder(const MatrixView& matrix)
    : decode_(find_f32_decoder(matrix.type)),
      decode_bf16_(has_avx512_bf16() ? avx512_bf16_decoder(matrix.type) : nullptr),
      data_(matrix.data),
      row_bytes_(matrix.row_bytes()),
      block_size_(traits(matrix.type).block_size),
      block_bytes_(traits(matrix.type).block_bytes) {
  if (!decode_) fail("tensor type {}: holds no weights, cannot be decoded", traits(matrix.type).name);
}

void RowDecoder::operator()(bf16* values, int64_t row, int64_t begin, int64_t end, float* temporary) const {
  if (decode_bf16_) {
    decode_bf16_(values, data_ + row * row_bytes_ + begin / block_size_ * block_bytes_, end - begin);
  } else {
    (*this)(temporary, row, begin, end);
    scale_row(values, temporary, end - begin, 1.0f);
  }
}

}  // namespace lora
#endif
