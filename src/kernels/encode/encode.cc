#include "kernels/encode/encode.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/encode/encode.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include <type_traits>

#include "base/error.h"
#include "kernels/isa.h"
#include "quant/formats.h"

HWY_BEFORE_NAMESPACE();

#undef LORA_SEARCH_NAMESPACE
#undef LORA_SEARCH_LANES
#define LORA_SEARCH_NAMESPACE HWY_NAMESPACE
#if HWY_MAX_BYTES >= 64
#define LORA_SEARCH_LANES 16
#elif HWY_MAX_BYTES == 32
#define LORA_SEARCH_LANES 8
#else
#define LORA_SEARCH_LANES 4
#endif
#include "quant/search-inl.h"

namespace lora {
namespace HWY_NAMESPACE {

// Whether an encode function is one; no_encoder is a pointer.
template <class Encode>
constexpr bool kWrites = std::is_function_v<Encode>;

#define LORA_ENCODER(type, values, bytes, decode, encode)                                          \
  HWY_ATTR void Encode##type(std::byte* HWY_RESTRICT out, const float* HWY_RESTRICT in, int64_t n, \
                             const float* w) {                                                     \
    if constexpr (kWrites<decltype(encode<Search>)>) encode<Search>(out, in, n, w);                \
  }
LORA_FOR_EACH_FORMAT(LORA_ENCODER)
#undef LORA_ENCODER

Encoder FindEncoder(Type wanted) {
#define LORA_CASE(type, values, bytes, decode, encode) \
  if (wanted == Type::type) return kWrites<decltype(encode<Search>)> ? Encode##type : nullptr;
  LORA_FOR_EACH_FORMAT(LORA_CASE)
#undef LORA_CASE
  return nullptr;
}

}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {

HWY_EXPORT(FindEncoder);

Encoder find_encoder(Type type) {
  const Encoder encoder =
      isa() == Isa::scalar ? traits(type).encode : HWY_DYNAMIC_DISPATCH(FindEncoder)(type);
  if (!encoder) {
    const TypeTraits& t = traits(type);
    fail("tensor type {}: {}", t.name,
         t.decode ? "can be read, not written" : "holds no weights, cannot be encoded");
  }
  return encoder;
}

}  // namespace lora
#endif
