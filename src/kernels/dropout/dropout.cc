#include "kernels/dropout/dropout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dropout/dropout.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/dropout/dropout_reference.h"
#include "kernels/isa.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using DU = hn::ScalableTag<uint32_t>;

HWY_ATTR HWY_INLINE hn::Vec<DU> Mix(hn::Vec<DU> h) {
  const DU du;
  h = hn::Mul(hn::Xor(h, hn::ShiftRight<16>(h)), hn::Set(du, 0x85ebca6bu));
  h = hn::Mul(hn::Xor(h, hn::ShiftRight<13>(h)), hn::Set(du, 0xc2b2ae35u));
  return hn::Xor(h, hn::ShiftRight<16>(h));
}

HWY_ATTR void Row(float* y, const float* x, int64_t n_cols, uint64_t row_key, float p, bool add) {
  const D d;
  const DU du;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const auto threshold = hn::Set(du, dropout_threshold(p));
  const auto low = hn::Set(du, uint32_t(row_key)), high = hn::Set(du, uint32_t(row_key >> 32));
  const auto scale = hn::Set(d, 1 / (1 - p));
  int64_t i = 0;
  for (; i + lanes <= n_cols; i += lanes) {
    const auto column = hn::Mul(hn::Iota(du, uint32_t(i)), hn::Set(du, 0x9e3779b9u));
    const auto hash = Mix(hn::Xor(Mix(hn::Add(column, low)), high));
    const auto dropped = hn::RebindMask(d, hn::Lt(hash, threshold));
    const auto kept = hn::IfThenZeroElse(dropped, hn::Mul(hn::LoadU(d, x + i), scale));
    hn::StoreU(add ? hn::Add(hn::LoadU(d, y + i), kept) : kept, d, y + i);
  }
  dropout_row_reference(y, x, i, n_cols, row_key, p, add);
}

}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {

HWY_EXPORT(Row);

void dropout_apply(float* y, const float* x, int64_t n_tokens, int64_t n_cols, const DropoutMask& mask,
                   bool add, ThreadPool& pool) {
  const bool scalar = isa() == Isa::scalar;
  pool.for_range(n_tokens, std::max<int64_t>(1, 16384 / std::max<int64_t>(n_cols, 1)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t t = begin; t < end; ++t) {
                     const uint64_t key = dropout_row_key(mask.key, t);
                     const int64_t at = t * n_cols;
                     scalar ? dropout_row_reference(y + at, x + at, 0, n_cols, key, mask.p, add)
                            : HWY_DYNAMIC_DISPATCH(Row)(y + at, x + at, n_cols, key, mask.p, add);
                   }
                 });
}

}  // namespace lora
#endif
