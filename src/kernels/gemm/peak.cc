#include "kernels/gemm/peak.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "base/timing.h"
#include "kernels/gemm/micro_kernel.h"

namespace lora {
namespace {

// One thread's operands and tile, zeros: the time does not depend on values.
struct Operands {
  Buffer<float> c{kMaxMr * kMaxNr}, l{kMaxMr * kMaxKc}, r{kMaxNr * kMaxKc};
};

// Seconds that each thread takes for `calls` tiles of inner length k when all compute as many at the same
// time.
std::vector<double> seconds_of(const MicroKernel& kernel, int64_t k, int64_t calls,
                               std::vector<Operands>& operands, ThreadPool& pool) {
  std::vector<Clock::time_point> starts(operands.size()), ends(operands.size());
  std::atomic<int> waiting{pool.size()};
  // As many tasks as threads, and none goes on before all have begun: each thread gets one.
  pool.run_together([&](int64_t task, int) {
    Operands& o = operands[size_t(task)];
    if (kernel.begin) kernel.begin();
    waiting.fetch_sub(1);
    while (waiting.load() > 0) std::this_thread::yield();
    starts[size_t(task)] = Clock::now();
    for (int64_t i = 0; i < calls; ++i)
      kernel.tile(o.c.data(), kernel.nr, o.l.data(), k, o.r.data(), k, true);
    ends[size_t(task)] = Clock::now();
    if (kernel.end) kernel.end();
  });
  std::vector<double> seconds;
  for (size_t i = 0; i < starts.size(); ++i)
    seconds.push_back(std::chrono::duration<double>(ends[i] - starts[i]).count());
  return seconds;
}

}  // namespace

double best_rate(double operations, std::span<const std::vector<double>> rounds) {
  std::vector<double> least = rounds[0];
  for (const std::vector<double>& seconds : rounds) {
    for (size_t i = 0; i < least.size(); ++i) least[i] = std::min(least[i], seconds[i]);
  }
  double sum = 0;
  for (const double seconds : least) sum += operations / seconds;
  return sum;
}

double gemm_peak(GemmInput input, ThreadPool& pool) {
  const MicroKernel& kernel = micro_kernel(input);
  std::vector<Operands> operands(size_t(pool.size()));
  double best = 0;
  // A long inner loop hides the tile's loads and stores, a short one leaves the cache room: the best counts.
  for (const int64_t k : {64, 128, 256}) {
    if (k % kernel.k_step != 0) continue;
    const double tile_flops = 2.0 * kernel.mr * kernel.nr * double(k);
    int64_t calls = 16;  // doubled until a round takes some milliseconds
    std::vector<std::vector<double>> rounds;
    while (rounds.size() < 8) {
      std::vector<double> seconds = seconds_of(kernel, k, calls, operands, pool);
      if (*std::ranges::min_element(seconds) < 2e-3) {
        calls *= 2;
        rounds.clear();  // which did less
      } else {
        rounds.push_back(std::move(seconds));
      }
    }
    best = std::max(best, best_rate(tile_flops * double(calls), rounds));
  }
  return best;
}

}  // namespace lora
