#include "kernels/attention/few_queries.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/few_queries.cc"
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include "kernels/attention/few_queries-inl.h"

#if HWY_ONCE
namespace lora {

HWY_EXPORT(ForwardFewQueries);

void attention_few_queries(float* out, const float* q, const float* k, const float* v, const HeadView& head,
                           const AttentionShape& shape) {
  HWY_DYNAMIC_DISPATCH(ForwardFewQueries)(out, nullptr, q, k, v, head, shape, 0, head.n_q);
}

}  // namespace lora
#endif
