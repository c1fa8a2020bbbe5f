// What every kernel's benchmark reports, on one thread: its rate, and which share that is of what the machine
// does at best, measured in the same run.
#pragma once

#include <benchmark/benchmark.h>

#include <array>
#include <map>
#include <vector>

#include "kernels/bandwidth.h"
#include "kernels/gemm/peak.h"

namespace lora::bench {

inline void rate(benchmark::State& state, const char* name, double per_iteration) {
  state.counters[name] = benchmark::Counter(per_iteration, benchmark::Counter::kIsIterationInvariantRate);
}

// Against the matrix peak of the input type.
inline void report_flops(benchmark::State& state, GemmInput input, double flops) {
  static const std::array<double, 2> peaks = [] {
    ThreadPool pool(1);
    return std::array<double, 2>{gemm_peak(GemmInput::f32, pool), gemm_peak(GemmInput::bf16, pool)};
  }();
  rate(state, "GFLOP/s", flops / 1e9);
  rate(state, "of_peak", flops / peaks[size_t(input)]);
}

// Against copying within as many bytes, so from the cache that they fit.
inline void report_bytes(benchmark::State& state, int64_t moved, int64_t working_set) {
  static std::map<int64_t, double> copies;
  if (!copies.contains(working_set)) copies[working_set] = copy_bandwidth(working_set);
  rate(state, "GB/s", double(moved) / 1e9);
  rate(state, "of_copy", double(moved) / copies[working_set]);
}

// Against reading the same weights; `moved` bytes of them are read per iteration.
inline void report_read(benchmark::State& state, int64_t moved, const std::vector<MatrixView>& weights) {
  std::vector<const MatrixView*> pointers;
  for (const MatrixView& w : weights) pointers.push_back(&w);
  ThreadPool pool(1);
  rate(state, "GB/s", double(moved) / 1e9);
  rate(state, "of_read", double(moved) / read_bandwidth(pointers, pool));
}

}  // namespace lora::bench
