// What the multiply unit does at best on this machine now: what shares of peak refer to.
#pragma once

#include "base/parallel.h"
#include "kernels/gemm/gemm.h"

namespace lora {

// Operations per second (a multiply-add is two) of the kernel set's own innermost loop on operands that stay
// in the first-level cache, on all threads of the pool at once. The best of some rounds, which take about
// 0.1 s together.
double gemm_peak(GemmInput input, ThreadPool& pool);

}  // namespace lora
