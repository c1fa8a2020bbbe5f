#include "nn/linear.h"

#include "kernels/dot/dot.h"

namespace lora {
namespace {

int64_t rank_sum(const Linear& layer) {
  int64_t sum = 0;
  for (const LoraView& lora : layer.loras) sum += lora.rank;
  return sum;
}

PackedTokens pack_x(const float* x, int64_t n_tokens, int64_t n_cols, float scale, NnContext& nn) {
  auto* storage = nn.arena.take<std::byte>(packed_bytes(nn.input, n_tokens, n_cols));
  return pack_forward(storage, x, n_tokens, n_cols, scale, nn.input, nn.pool);
}

PackedTokens pack_dy(const float* dy, int64_t n_tokens, int64_t n_cols, float scale, NnContext& nn) {
  auto* storage = nn.arena.take<std::byte>(packed_bytes(nn.input, n_tokens, n_cols));
  return pack_gradient(storage, dy, n_tokens, n_cols, scale, nn.input, nn.pool);
}

void add_bias(const LinearOutput& out, int64_t n_tokens, ThreadPool& pool) {
  const int64_t n = out.layer->n_out();
  pool.for_range(n_tokens, 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t o = 0; o < n; ++o) out.y[t * n + o] += out.layer->bias[o];
    }
  });
}

// Token by token: rows are decoded once and used in the cache, nothing is packed.
void forward_few(const LinearOutput& out, const float* x, int64_t n_tokens, NnContext& nn) {
  const Linear& layer = *out.layer;
  if (out.y) dot_rows(out.y, x, layer.w, n_tokens, out.accumulate, nn.pool);
  float* xa = out.xa;
  for (const LoraView& lora : layer.loras) {
    const ArenaScope scope(nn.arena);
    const int64_t n = n_tokens * lora.rank;
    float* low = xa ? xa : nn.arena.take<float>(n);
    float* scaled = nn.arena.take<float>(n);
    dot_rows(low, x, f32_matrix(lora.a, lora.rank, layer.n_in()), n_tokens, false, nn.pool);
    for (int64_t i = 0; i < n; ++i) scaled[i] = low[i] * lora.scale;
    if (out.y) dot_rows(out.y, scaled, f32_matrix(lora.b, layer.n_out(), lora.rank), n_tokens, true, nn.pool);
    if (xa) xa += n;
  }
}

void forward_many(const LinearOutput& out, const PackedTokens& packed_x, int64_t n_tokens, NnContext& nn) {
  const ArenaScope scope(nn.arena);
  const Linear& layer = *out.layer;
  float* xa = out.xa ? out.xa : nn.arena.take<float>(xa_size(layer, n_tokens));
  std::vector<GemmTerm> terms = {{packed_x, layer.w}};
  for (const LoraView& lora : layer.loras) {
    const GemmTerm down = {packed_x, f32_matrix(lora.a, lora.rank, layer.n_in())};
    gemm_forward(xa, {&down, 1}, false, nn.input, nn.scratch, nn.pool);
    terms.push_back(
        {pack_x(xa, n_tokens, lora.rank, lora.scale, nn), f32_matrix(lora.b, layer.n_out(), lora.rank)});
    xa += n_tokens * lora.rank;
  }
  if (out.y) gemm_forward(out.y, terms, out.accumulate, nn.input, nn.scratch, nn.pool);
}

}  // namespace

int64_t xa_size(const Linear& layer, int64_t n_tokens) {
  return n_tokens * rank_sum(layer);
}

void linear_forward(std::span<const LinearOutput> outputs, const float* x, int64_t n_tokens, NnContext& nn) {
  const ArenaScope scope(nn.arena);
  if (n_tokens <= kDotTokens) {
    for (const LinearOutput& out : outputs) forward_few(out, x, n_tokens, nn);
  } else {
    const PackedTokens packed_x = pack_x(x, n_tokens, outputs[0].layer->n_in(), 1.0f, nn);
    for (const LinearOutput& out : outputs) forward_many(out, packed_x, n_tokens, nn);
  }
  for (const LinearOutput& out : outputs) {
    if (nn.observe) nn.observe(*out.layer, x, n_tokens);
    if (out.y && out.layer->bias) add_bias(out, n_tokens, nn.pool);
  }
}

void linear_backward(float* dx, std::span<const LinearGradient> layers, const float* x, int64_t n_tokens,
                     NnContext& nn) {
  const ArenaScope scope(nn.arena);
  std::vector<GemmTerm> terms;
  for (const LinearGradient& gradient : layers) {
    const Linear& layer = *gradient.layer;
    const PackedTokens dy = pack_dy(gradient.dy, n_tokens, layer.n_out(), 1.0f, nn);
    terms.push_back({dy, layer.w});
    const float* xa = gradient.xa;
    for (const LoraView& lora : layer.loras) {
      float* dxa = nn.arena.take<float>(n_tokens * lora.rank);  // dy B
      const GemmTerm up = {dy, f32_matrix(lora.b, layer.n_out(), lora.rank)};
      gemm_input_gradient(dxa, {&up, 1}, false, nn.input, nn.scratch, nn.pool);
      if (lora.da) {
        gemm_weight_gradient(lora.da, dxa, x, n_tokens, lora.rank, layer.n_in(), lora.scale, nn.scratch,
                             nn.pool);
        gemm_weight_gradient(lora.db, gradient.dy, xa, n_tokens, layer.n_out(), lora.rank, lora.scale,
                             nn.scratch, nn.pool);
      }
      xa += n_tokens * lora.rank;
      if (dx) {
        terms.push_back(
            {pack_dy(dxa, n_tokens, lora.rank, lora.scale, nn), f32_matrix(lora.a, lora.rank, layer.n_in())});
      }
    }
  }
  if (dx) gemm_input_gradient(dx, terms, false, nn.input, nn.scratch, nn.pool);
}

int64_t linear_workspace_bytes(std::span<const Linear* const> layers, int64_t n_tokens, GemmInput input) {
  const auto packed = [&](int64_t n_cols) {
    return Arena::size_of<std::byte>(packed_bytes(input, n_tokens, n_cols));
  };
  int64_t forward = 0, backward = 0;
  for (const Linear* layer : layers) {
    int64_t low = 0, kept = 0;
    for (const LoraView& lora : layer->loras) {
      low += Arena::size_of<float>(n_tokens * lora.rank);
      kept += packed(lora.rank) + Arena::size_of<float>(n_tokens * lora.rank);
    }
    forward = std::max(forward, low + kept);
    backward += packed(layer->n_out()) + kept;
  }
  return std::max(packed(layers[0]->n_in()) + forward, backward);
}

}  // namespace lora
