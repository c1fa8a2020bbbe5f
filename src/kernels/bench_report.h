// What every kernel's benchmark reports, on one thread: its rate, and which share that is of what the machine
// does at best, measured in the same run.
#pragma once

#include <benchmark/benchmark.h>

#include <array>
#include <map>
#include <vector>

#include "base/timing.h"
#include "kernels/bandwidth.h"
#include "kernels/gemm/peak.h"

namespace lora::bench {

// Runs the body as often as asked; seconds of one call.
template <class Body>
double run(benchmark::State& state, const Body& body) {
  const double all = seconds([&] {
    for (auto _ : state) {
      body();
      benchmark::ClobberMemory();
    }
  });
  return all / double(state.iterations());
}

// Against the matrix peak of the input type.
inline void report_flops(benchmark::State& state, double seconds_per_call, GemmInput input, double flops) {
  static const std::array<double, 2> peaks = [] {
    ThreadPool pool(1);
    return std::array<double, 2>{gemm_peak(GemmInput::f32, pool), gemm_peak(GemmInput::bf16, pool)};
  }();
  state.counters["GFLOP/s"] = flops / seconds_per_call / 1e9;
  state.counters["of_peak"] = flops / seconds_per_call / peaks[size_t(input)];
}

// Against copying within as many bytes, so from the cache that they fit. A copy also fetches the lines that
// it overwrites, so what works in place can be faster.
inline void report_bytes(benchmark::State& state, double seconds_per_call, int64_t moved,
                         int64_t working_set) {
  static std::map<int64_t, double> copies;
  if (!copies.contains(working_set)) copies[working_set] = copy_bandwidth(working_set);
  state.counters["GB/s"] = double(moved) / seconds_per_call / 1e9;
  state.counters["of_copy"] = double(moved) / seconds_per_call / copies[working_set];
}

// Against reading the same numbers; `moved` bytes of them are read per call.
inline void report_read(benchmark::State& state, double seconds_per_call, int64_t moved,
                        const std::vector<MatrixView>& numbers) {
  static std::map<int64_t, double> reads;
  int64_t all = 0;
  std::vector<const MatrixView*> pointers;
  for (const MatrixView& w : numbers) {
    all += w.n_rows * w.row_bytes();
    pointers.push_back(&w);
  }
  if (!reads.contains(all)) {
    ThreadPool pool(1);
    reads[all] = read_bandwidth(pointers, pool);
  }
  state.counters["GB/s"] = double(moved) / seconds_per_call / 1e9;
  state.counters["of_read"] = double(moved) / seconds_per_call / reads[all];
}

}  // namespace lora::bench
