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

void attention_few_queries(const ForwardPass& pass, const AttentionSegment& seg, int64_t head_kv,
                           int64_t piece, int64_t n_pieces, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(ForwardFewQueries)(pass, seg, head_kv, piece, n_pieces, scratch);
}

int64_t few_queries_bytes(const AttentionShape& shape) {
  Layout layout(nullptr);
  FewQueriesScratch(layout, shape);
  return layout.used();
}

}  // namespace lora
#endif
