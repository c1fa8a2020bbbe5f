#include "nn/linear.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/random.h"
#include "kernels/dot/dot.h"
#include "kernels/dropout/dropout.h"
#include "kernels/gemm_int8/gemm_int8.h"

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

std::optional<DropoutMask> dropout_of(const LoraView& lora, const NnContext& nn) {
  if (!nn.dropout_key || lora.dropout == 0) return std::nullopt;
  return DropoutMask{lora.dropout, random_bits(*nn.dropout_key, Purpose::dropout, lora.stream, 0)};
}

// Whether an adapter that reads x drops some of it.
bool drops(std::span<const LinearOutput> outputs, const NnContext& nn) {
  return std::ranges::any_of(outputs, [&](const LinearOutput& out) {
    return std::ranges::any_of(out.layer->loras,
                               [&](const LoraView& lora) { return dropout_of(lora, nn).has_value(); });
  });
}

void add_bias(const LinearOutput& out, int64_t n_tokens, ThreadPool& pool) {
  const int64_t n = out.layer->n_out();
  pool.for_range(n_tokens, 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t o = 0; o < n; ++o) out.y[t * n + o] += out.layer->bias[o];
    }
  });
}

bool wants_integers(std::span<const LinearOutput> outputs, int64_t n_tokens, const NnContext& nn) {
  return nn.dot == DotInput::int8 && std::ranges::all_of(outputs, [&](const LinearOutput& out) {
           return prefers_int8_gemm(out.layer->w.type, n_tokens);
         });
}

// The weights' own part, in 8-bit integers.
void forward_integers(std::span<const LinearOutput> outputs, const float* x, int64_t n_tokens,
                      NnContext& nn) {
  const ArenaScope scope(nn.arena);
  const int64_t n_in = outputs[0].layer->n_in();
  auto* storage = nn.arena.take<std::byte>(int8_tokens_bytes(n_tokens, n_in));
  const Int8Tokens rounded = round_tokens(storage, x, n_tokens, n_in, nn.pool);
  for (const LinearOutput& out : outputs) {
    if (out.y) gemm_int8(out.y, out.layer->w, rounded, out.accumulate, nn.scratch, nn.pool);
  }
}

// Weights are read once and multiplied as they come, nothing is packed; what reads x goes in one loop.
// Without `whole`, only what adapters add.
void forward_few(std::span<const LinearOutput> outputs, const float* x, int64_t n_tokens, bool whole,
                 NnContext& nn) {
  struct Low {
    const LinearOutput* out;
    const LoraView* lora;
    float* xa;  // (n_tokens, rank)
  };
  std::vector<DotProduct> products;
  std::vector<Low> lows;
  for (const LinearOutput& out : outputs) {
    if (out.y && whole) products.push_back({out.y, out.layer->w, out.accumulate});
    float* xa = out.xa ? out.xa : nn.arena.take<float>(xa_size(*out.layer, n_tokens));
    for (const LoraView& lora : out.layer->loras) {
      products.push_back({xa, f32_matrix(lora.a, lora.rank, out.layer->n_in())});
      lows.push_back({&out, &lora, xa});
      xa += n_tokens * lora.rank;
    }
  }
  auto* scratch = nn.arena.take<std::byte>(dot_scratch_bytes(n_tokens, outputs[0].layer->n_in()));
  dot_rows(products, x, n_tokens, nn.dot, scratch, nn.pool);
  for (const Low& low : lows) {
    if (!low.out->y) continue;
    const ArenaScope scope(nn.arena);
    const int64_t n = n_tokens * low.lora->rank;
    float* scaled = nn.arena.take<float>(n);
    for (int64_t i = 0; i < n && !nn.pool.is_dry(); ++i) scaled[i] = low.xa[i] * low.lora->scale;
    const DotProduct up = {low.out->y, f32_matrix(low.lora->b, low.out->layer->n_out(), low.lora->rank),
                           true};
    dot_rows({&up, 1}, scaled, n_tokens, DotInput::f32, nullptr, nn.pool);
  }
}

// xa = (D x) A^T.
void dropped_down(float* xa, const float* x, const LoraView& lora, const DropoutMask& mask, int64_t n_in,
                  int64_t n_tokens, NnContext& nn) {
  const ArenaScope scope(nn.arena);
  float* dropped = nn.arena.take<float>(n_tokens * n_in);
  dropout_apply(dropped, x, n_tokens, n_in, mask, false, nn.pool);
  const GemmTerm down = {pack_x(dropped, n_tokens, n_in, 1.0f, nn), f32_matrix(lora.a, lora.rank, n_in)};
  gemm_forward(xa, {&down, 1}, false, nn.input, nn.scratch, nn.pool);
}

// Without `whole`, only what adapters add.
void forward_many(const LinearOutput& out, const PackedTokens& packed_x, const float* x, int64_t n_tokens,
                  bool whole, NnContext& nn) {
  const ArenaScope scope(nn.arena);
  const Linear& layer = *out.layer;
  float* xa = out.xa ? out.xa : nn.arena.take<float>(xa_size(layer, n_tokens));
  std::vector<GemmTerm> terms;
  if (whole) terms.push_back({packed_x, layer.w});
  for (const LoraView& lora : layer.loras) {
    const ProfileScope part(nn.profile, Part::lora);
    if (const auto mask = dropout_of(lora, nn)) {
      dropped_down(xa, x, lora, *mask, layer.n_in(), n_tokens, nn);
    } else {
      const GemmTerm down = {packed_x, f32_matrix(lora.a, lora.rank, layer.n_in())};
      gemm_forward(xa, {&down, 1}, false, nn.input, nn.scratch, nn.pool);
    }
    terms.push_back(
        {pack_x(xa, n_tokens, lora.rank, lora.scale, nn), f32_matrix(lora.b, layer.n_out(), lora.rank)});
    xa += n_tokens * lora.rank;
  }
  if (!out.y || terms.empty()) return;
  gemm_forward(out.y, terms, out.accumulate || !whole, nn.input, nn.scratch, nn.pool);
}

}  // namespace

int64_t xa_size(const Linear& layer, int64_t n_tokens) {
  return n_tokens * rank_sum(layer);
}

void linear_forward(std::span<const LinearOutput> outputs, const float* x, int64_t n_tokens, NnContext& nn) {
  const ProfileScope part(nn.profile, Part::gemm_forward);
  const ArenaScope scope(nn.arena);
  const bool integers = wants_integers(outputs, n_tokens, nn);
  if (integers) forward_integers(outputs, x, n_tokens, nn);
  const bool done = integers && std::ranges::all_of(outputs, [](const LinearOutput& out) {
                      return out.layer->loras.empty();
                    });
  if (!done && n_tokens <= kDotTokens && !drops(outputs, nn)) {
    forward_few(outputs, x, n_tokens, !integers, nn);
  } else if (!done) {
    const PackedTokens packed_x = pack_x(x, n_tokens, outputs[0].layer->n_in(), 1.0f, nn);
    for (const LinearOutput& out : outputs) forward_many(out, packed_x, x, n_tokens, !integers, nn);
  }
  for (const LinearOutput& out : outputs) {
    if (nn.observe) nn.observe(*out.layer, x, n_tokens);
    if (out.y && out.layer->bias) add_bias(out, n_tokens, nn.pool);
  }
}

void linear_backward(float* dx, std::span<const LinearGradient> layers, const float* x, int64_t n_tokens,
                     NnContext& nn) {
  const ProfileScope part(nn.profile, Part::gemm_input_gradient);
  const ArenaScope scope(nn.arena);
  std::vector<GemmTerm> terms;
  std::vector<std::pair<GemmTerm, DropoutMask>> masked;
  for (const LinearGradient& gradient : layers) {
    const Linear& layer = *gradient.layer;
    const PackedTokens dy = pack_dy(gradient.dy, n_tokens, layer.n_out(), 1.0f, nn);
    terms.push_back({dy, layer.w});
    const float* xa = gradient.xa;
    for (const LoraView& lora : layer.loras) {
      const ProfileScope lora_part(nn.profile, Part::lora);
      float* dxa = nn.arena.take<float>(n_tokens * lora.rank);  // dy B
      const GemmTerm up = {dy, f32_matrix(lora.b, layer.n_out(), lora.rank)};
      gemm_input_gradient(dxa, {&up, 1}, false, nn.input, nn.scratch, nn.pool);
      const auto mask = dropout_of(lora, nn);
      if (lora.da) {
        const ArenaScope dropped_scope(nn.arena);
        const float* lora_x = x;
        if (mask) {
          float* dropped = nn.arena.take<float>(n_tokens * layer.n_in());
          dropout_apply(dropped, x, n_tokens, layer.n_in(), *mask, false, nn.pool);
          lora_x = dropped;
        }
        gemm_weight_gradient(lora.da, dxa, lora_x, n_tokens, lora.rank, layer.n_in(), lora.scale, nn.pool);
        gemm_weight_gradient(lora.db, gradient.dy, xa, n_tokens, layer.n_out(), lora.rank, lora.scale,
                             nn.pool);
      }
      xa += n_tokens * lora.rank;
      if (!dx) continue;
      const GemmTerm down = {pack_dy(dxa, n_tokens, lora.rank, lora.scale, nn),
                             f32_matrix(lora.a, lora.rank, layer.n_in())};
      if (mask) {
        masked.emplace_back(down, *mask);
      } else {
        terms.push_back(down);
      }
    }
  }
  if (!dx) return;
  gemm_input_gradient(dx, terms, false, nn.input, nn.scratch, nn.pool);
  for (const auto& [down, mask] : masked) {
    const ArenaScope dropped_scope(nn.arena);
    float* part_of_dx = nn.arena.take<float>(n_tokens * down.w.n_cols);
    gemm_input_gradient(part_of_dx, {&down, 1}, false, nn.input, nn.scratch, nn.pool);
    dropout_apply(dx, part_of_dx, n_tokens, down.w.n_cols, mask, true, nn.pool);
  }
}

}  // namespace lora
