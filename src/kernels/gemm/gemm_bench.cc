// Matrix products of the shapes that 3B and 7B models have. Arguments: tokens, n_out, n_in.
#include <fmt/format.h>

#include <vector>

#include "kernels/bench_report.h"
#include "kernels/gemm/gemm.h"

namespace lora {
namespace {

struct Weights {
  std::vector<std::byte> bytes;
  MatrixView view;
};

Weights make_weights(Type type, int64_t n_out, int64_t n_in) {
  Weights w{{}, {type, nullptr, n_out, n_in}};
  w.bytes.resize(size_t(n_out * w.view.row_bytes()));  // zeros: the time does not depend on values
  w.view.data = w.bytes.data();
  return w;
}

template <bool kBackward>
void product(benchmark::State& state, GemmInput input, Type type) {
  const int64_t n_tokens = state.range(0), n_out = state.range(1), n_in = state.range(2);
  const int64_t n_x = kBackward ? n_out : n_in, n_y = kBackward ? n_in : n_out;
  ThreadPool pool(1);
  GemmScratch scratch(1);
  const Weights w = make_weights(type, n_out, n_in);
  const std::vector<float> x(size_t(n_tokens * n_x), 0.5f);
  std::vector<float> y(size_t(n_tokens * n_y));
  Buffer<std::byte> storage(packed_bytes(input, n_tokens, n_x));
  const double s = bench::run(state, [&] {
    if constexpr (kBackward) {
      const GemmTerm term = {pack_gradient(storage.data(), x.data(), n_tokens, n_x, 1, input, pool), w.view};
      gemm_input_gradient(y.data(), {&term, 1}, false, input, scratch, pool);
    } else {
      const GemmTerm term = {pack_forward(storage.data(), x.data(), n_tokens, n_x, 1, input, pool), w.view};
      gemm_forward(y.data(), {&term, 1}, false, input, scratch, pool);
    }
  });
  bench::report_flops(state, s, input, 2.0 * double(n_tokens) * double(n_out) * double(n_in));
}

// Of an adapter's matrix.
void weight_gradient(benchmark::State& state) {
  const int64_t n_tokens = state.range(0), n_out = state.range(1), n_in = state.range(2);
  ThreadPool pool(1);
  const std::vector<float> dy(size_t(n_tokens * n_out), 0.5f), x(size_t(n_tokens * n_in), 0.5f);
  std::vector<float> dw(size_t(n_out * n_in));
  const double s = bench::run(
      state, [&] { gemm_weight_gradient(dw.data(), dy.data(), x.data(), n_tokens, n_out, n_in, 1, pool); });
  bench::report_flops(state, s, GemmInput::f32, 2.0 * double(n_tokens) * double(n_out) * double(n_in));
}

void register_all() {
  struct Stored {
    const char* name;
    Type type;
  };
  struct Input {
    const char* name;
    GemmInput type;
  };
  struct Shape {
    int64_t n_out, n_in;
  };
  constexpr Stored stored[] = {{"f16", Type::F16},   {"bf16", Type::BF16}, {"q8_0", Type::Q8_0},
                               {"q6_k", Type::Q6_K}, {"q5_0", Type::Q5_0}, {"q4_k", Type::Q4_K}};
  constexpr Input inputs[] = {{"f32", GemmInput::f32}, {"bf16", GemmInput::bf16}};
  constexpr Shape shapes[] = {{3200, 3200},  {8640, 3200},  {3200, 8640},   // 3B: q k v o, gate up, down
                              {4096, 4096},  {11008, 4096}, {4096, 11008},  // 7B
                              {32000, 3200}, {32000, 4096}};                // output layers
  const auto add = [](const std::string& name, const std::vector<int64_t>& args, auto... function) {
    benchmark::RegisterBenchmark(name.c_str(), function...)->Args(args)->Unit(benchmark::kMillisecond);
  };
  const auto add_both = [&](const Stored& w, const Input& input, int64_t n_tokens, const Shape& shape) {
    const std::vector<int64_t> args{n_tokens, shape.n_out, shape.n_in};
    add(fmt::format("forward/{}/{}", input.name, w.name), args, product<false>, input.type, w.type);
    add(fmt::format("input_gradient/{}/{}", input.name, w.name), args, product<true>, input.type, w.type);
  };
  for (const Stored& w : stored) {
    for (const Shape& shape : shapes) {
      if (shape.n_in % traits(w.type).block_size != 0) continue;
      const bool is_output = shape.n_out == 32000;
      for (const Input& input : inputs) {
        if (is_output) {  // a block of tokens at a time (nn/head.h)
          add_both(w, input, 128, shape);
        } else {
          for (const int64_t n_tokens : {64, 512}) add_both(w, input, n_tokens, shape);
        }
      }
    }
  }
  // Adapters: x A^T and its way back, and the gradients of A and of B.
  for (const int64_t rank : {4, 16, 64}) {
    for (const int64_t n : {3200, 4096}) {
      for (const Input& input : inputs) add_both({"f32", Type::F32}, input, 512, {rank, n});
      add("weight_gradient/a", {512, rank, n}, weight_gradient);
      add("weight_gradient/b", {512, n, rank}, weight_gradient);
    }
  }
}

[[maybe_unused]] const bool registered = (register_all(), true);

}  // namespace
}  // namespace lora
