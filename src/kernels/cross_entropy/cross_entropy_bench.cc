// Loss and gradient of the 128 tokens whose logits exist at a time. Argument: n_vocab.
#include <vector>

#include "kernels/bench_report.h"
#include "kernels/cross_entropy/cross_entropy.h"

namespace lora {
namespace {

constexpr int64_t kRows = 128;

void forward(benchmark::State& state) {
  const int64_t n_vocab = state.range(0);
  const std::vector<float> logits(size_t(kRows * n_vocab), 0.5f);
  const MatrixView as_weights{Type::F32, reinterpret_cast<const std::byte*>(logits.data()), kRows, n_vocab};
  const std::vector<int32_t> targets(kRows, 1);
  std::vector<double> losses(kRows);
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    cross_entropy_forward(losses.data(), logits.data(), targets.data(), kRows, n_vocab, pool);
  });
  bench::report_read(state, s, kRows * n_vocab * 4, {as_weights});
}
BENCHMARK(forward)->Arg(4096)->Arg(32000)->Arg(128256);

// In place: the logits are read and the gradient is written.
void backward(benchmark::State& state) {
  const int64_t n_vocab = state.range(0), bytes = kRows * n_vocab * 4;
  std::vector<float> logits(size_t(kRows * n_vocab), 0.5f);
  const std::vector<int32_t> targets(kRows, 1);
  std::vector<double> losses(kRows);
  ThreadPool pool(1);
  const double s = bench::run(state, [&] {
    cross_entropy_backward(logits.data(), losses.data(), targets.data(), 1, kRows, n_vocab, pool);
  });
  bench::report_bytes(state, s, 2 * bytes, bytes);
}
BENCHMARK(backward)->Arg(4096)->Arg(32000)->Arg(128256);

}  // namespace
}  // namespace lora
