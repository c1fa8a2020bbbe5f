#include "kernels/gemm/pack.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/pack.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include "kernels/gemm/pack_reference.h"
#include "kernels/isa.h"

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using DU = hn::ScalableTag<uint32_t>;

// The upper 16 bits of each lane are the value rounded to bf16; the lower ones are left over.
HWY_ATTR HWY_INLINE hn::Vec<DU> RoundToBf16(hn::Vec<D> v) {
  const DU du;
  const auto u = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1));
  const auto rounded = hn::Add(u, hn::Add(odd, hn::Set(du, 0x7fff)));
  const auto quiet = hn::Or(u, hn::Set(du, 0x400000));
  return hn::IfThenElse(hn::RebindMask(du, hn::Eq(v, v)), rounded, quiet);
}

HWY_ATTR void ScaleF32(float* HWY_RESTRICT out, const float* HWY_RESTRICT x, int64_t n, float scale) {
  const D d;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const auto s = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, x + i), s), d, out + i);
  scale_row_reference(out + i, x + i, n - i, scale);
}

HWY_ATTR void ScaleBf16(bf16* HWY_RESTRICT out, const float* HWY_RESTRICT x, int64_t n, float scale) {
  const D d;
  const hn::RebindToSigned<DU> di;
  const hn::Rebind<uint16_t, DU> d16;
  const int64_t lanes = int64_t(hn::Lanes(d));
  const auto s = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto high = hn::ShiftRight<16>(RoundToBf16(hn::Mul(hn::LoadU(d, x + i), s)));
    hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, high)), d16, reinterpret_cast<uint16_t*>(out + i));
  }
  scale_row_reference(out + i, x + i, n - i, scale);
}

HWY_ATTR void Interleave(uint32_t* HWY_RESTRICT out, int64_t stride, const bf16* HWY_RESTRICT a,
                         const bf16* HWY_RESTRICT b, int64_t n, int64_t nr) {
  const DU du;
  const hn::Rebind<uint16_t, DU> d16;
  const int64_t lanes = int64_t(hn::Lanes(du));
  const auto load = [&](const bf16* p) HWY_ATTR {
    return hn::PromoteTo(du, hn::LoadU(d16, reinterpret_cast<const uint16_t*>(p)));
  };
  if (nr % lanes != 0) return interleave_rows_reference(out, stride, a, b, n, nr);
  for (int64_t j = 0; j < n; j += nr, out += stride) {
    for (int64_t i = 0; i < nr; i += lanes) {
      hn::StoreU(hn::Or(load(a + j + i), hn::ShiftLeft<16>(load(b + j + i))), du, out + i);
    }
  }
}

#if HWY_TARGET == HWY_SCALAR
HWY_ATTR void Transpose(uint32_t* out, int64_t ld_out, const uint32_t* in, int64_t ld_in, int64_t n_rows,
                        int64_t n_cols) {
  transpose_reference(out, ld_out, in, ld_in, n_rows, n_cols);
}
#else
// Blocks of 4 x 4 in four registers, interleaved twice.
HWY_ATTR void Transpose(uint32_t* HWY_RESTRICT out, int64_t ld_out, const uint32_t* HWY_RESTRICT in,
                        int64_t ld_in, int64_t n_rows, int64_t n_cols) {
  const hn::Simd<uint32_t, 4, 0> d;
  const hn::Simd<uint64_t, 2, 0> d64;
  const int64_t rows4 = n_rows / 4 * 4, cols4 = n_cols / 4 * 4;
  for (int64_t j = 0; j < cols4; j += 4) {
    for (int64_t i = 0; i < rows4; i += 4) {
      const uint32_t* from = in + i * ld_in + j;
      uint32_t* to = out + j * ld_out + i;
      const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + ld_in);
      const auto r2 = hn::LoadU(d, from + 2 * ld_in), r3 = hn::LoadU(d, from + 3 * ld_in);
      const auto a = hn::BitCast(d64, hn::InterleaveLower(d, r0, r1)),
                 b = hn::BitCast(d64, hn::InterleaveLower(d, r2, r3));
      const auto e = hn::BitCast(d64, hn::InterleaveUpper(d, r0, r1)),
                 f = hn::BitCast(d64, hn::InterleaveUpper(d, r2, r3));
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, a, b)), d, to);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, a, b)), d, to + ld_out);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, e, f)), d, to + 2 * ld_out);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, e, f)), d, to + 3 * ld_out);
    }
  }
  transpose_reference(out + rows4, ld_out, in + rows4 * ld_in, ld_in, n_rows - rows4, n_cols);
  transpose_reference(out + cols4 * ld_out, ld_out, in + cols4, ld_in, rows4, n_cols - cols4);
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {

HWY_EXPORT(ScaleF32);
HWY_EXPORT(ScaleBf16);
HWY_EXPORT(Interleave);
HWY_EXPORT(Transpose);

void scale_row(float* out, const float* x, int64_t n, float scale) {
  isa() == Isa::scalar ? scale_row_reference(out, x, n, scale)
                       : HWY_DYNAMIC_DISPATCH(ScaleF32)(out, x, n, scale);
}

void scale_row(bf16* out, const float* x, int64_t n, float scale) {
  if (has_avx512_bf16()) return scale_row_avx512_bf16(out, x, n, scale);
  isa() == Isa::scalar ? scale_row_reference(out, x, n, scale)
                       : HWY_DYNAMIC_DISPATCH(ScaleBf16)(out, x, n, scale);
}

void interleave_rows(uint32_t* out, int64_t stride, const bf16* a, const bf16* b, int64_t n, int64_t nr) {
  isa() == Isa::scalar ? interleave_rows_reference(out, stride, a, b, n, nr)
                       : HWY_DYNAMIC_DISPATCH(Interleave)(out, stride, a, b, n, nr);
}

void transpose(uint32_t* out, int64_t ld_out, const uint32_t* in, int64_t ld_in, int64_t n_rows,
               int64_t n_cols) {
  isa() == Isa::scalar ? transpose_reference(out, ld_out, in, ld_in, n_rows, n_cols)
                       : HWY_DYNAMIC_DISPATCH(Transpose)(out, ld_out, in, ld_in, n_rows, n_cols);
}

}  // namespace lora
#endif
