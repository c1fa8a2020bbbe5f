// What the multiply unit does at best on this machine now: what shares of peak refer to.
#pragma once

#include <span>
#include <vector>

#include "base/parallel.h"
#include "kernels/gemm/gemm.h"

namespace lora {

// Operations per second (a multiply-add is two) of the kernel set's own innermost loop on operands that stay
// in the first-level cache, on all threads of the pool at once. Some rounds, which take about 0.1 s together.
double gemm_peak(GemmInput input, ThreadPool& pool);

// That of threads which did so many operations in each round, given the seconds that each thread took in each
// round. The best one of each thread counts: on a busy machine some thread is disturbed in every round.
double best_rate(double operations, std::span<const std::vector<double>> rounds);

}  // namespace lora
