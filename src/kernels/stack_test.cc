// Compilers must align vectors on the stack themselves where the system's calling convention does not, as on
// Windows (16 bytes; one compiler never did, GCC's bug 54412).
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/stack_test.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lora {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using Places = std::vector<uintptr_t>;

// Not inline: Windows has its argument in memory, where the caller put it.
HWY_NOINLINE V Doubled(V v, const float* array, Places& places) {
  places.push_back(reinterpret_cast<uintptr_t>(array));
  places.push_back(reinterpret_cast<uintptr_t>(&v));
  return hn::Add(v, v);
}

// By another number of bytes on the stack each time; the sum of 1 to `lanes`, 30 times, comes back.
template <int kBytes>
HWY_NOINLINE float SumOnStack(Places& places) {
  const D d;
  volatile char moved[kBytes];
  moved[0] = 1;
  HWY_ALIGN float array[hn::MaxLanes(d)];
  hn::Store(hn::Add(hn::Iota(d, 0), hn::Set(d, float(moved[0]))), d, array);
  const V once = hn::Load(d, array), twice = Doubled(once, array, places);
  const V four = Doubled(twice, array, places), eight = Doubled(four, array, places);
  hn::Store(hn::Add(hn::Add(twice, four), hn::Add(eight, Doubled(eight, array, places))), d, array);
  float sum = 0;
  for (size_t n = 0; n < hn::Lanes(d); ++n) sum += array[n];
  return sum;
}

size_t SumsOnStack(Places& places, std::vector<float>& sums, size_t& alignment) {
  sums = {SumOnStack<1>(places),  SumOnStack<16>(places), SumOnStack<32>(places), SumOnStack<48>(places),
          SumOnStack<64>(places), SumOnStack<80>(places), SumOnStack<96>(places), SumOnStack<112>(places)};
  // Vectors whose length the program does not know are loaded from anywhere.
  alignment = HWY_HAVE_SCALABLE ? 16 : hn::Lanes(D()) * sizeof(float);
  return hn::Lanes(D());
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lora
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lora {
namespace {

HWY_EXPORT(SumsOnStack);

TEST(Stack, HoldsVectorsAtTheirAlignment) {
  isa();
  std::vector<uintptr_t> places;
  std::vector<float> sums;
  size_t alignment = 0;
  const size_t lanes = HWY_DYNAMIC_DISPATCH(SumsOnStack)(places, sums, alignment);
  EXPECT_EQ(places.size(), 64);
  for (const uintptr_t place : places) EXPECT_EQ(place % alignment, 0);
  for (const float sum : sums) EXPECT_EQ(sum, float(30 * lanes * (lanes + 1) / 2));
}

}  // namespace
}  // namespace lora
#endif  // HWY_ONCE
