#include "nn/linear.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/random.h"
#include "kernels/dot/dot.h"
#include "kernels/dropout/dropout.h"
#include "kernels/gemm_int8/gemm_int8.h"
#include "nn/elementwise.h"

namespace lora {
namespace {

using Groups = std::span<const LinearGroup>;

int64_t rank_sum(const Linear& layer) {
  int64_t sum = 0;
  for (const LoraView& lora : layer.loras) sum += lora.rank;
  return sum;
}

// A group each.
using Packed = std::vector<PackedTokens>;

// As pack_forward() or pack_gradient() does.
using Pack = void(PackedTokens* packed, std::byte* storage, std::span<const TokenRows> groups, int64_t n_cols,
                  float scale, GemmInput input, ThreadPool& pool);
Packed packed_by(Pack* pack, std::span<const TokenRows> groups, int64_t n_cols, float scale,
                 const GroupSize& size, NnContext& nn) {
  Packed packed(groups.size());
  auto* storage = nn.arena.take<std::byte>(grouped_packed_bytes(nn.input, size.n_padded_rows, n_cols));
  pack(packed.data(), storage, groups, n_cols, scale, nn.input, nn.pool);
  return packed;
}

// Rows one behind the other, as those who cannot read by index want them.
std::vector<TokenRows> gathered(std::span<const TokenRows> groups, int64_t n_cols, const GroupSize& size,
                                NnContext& nn) {
  if (!groups[0].index) return {groups.begin(), groups.end()};
  std::vector<TokenRows> result;
  float* to = nn.arena.take<float>(size.n_rows * n_cols);
  for (const TokenRows& group : groups) {
    nn.pool.for_range(group.n_rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) std::copy_n(group.row(r, n_cols), n_cols, to + r * n_cols);
    });
    result.push_back({to, nullptr, group.n_rows});
    to += group.n_rows * n_cols;
  }
  return result;
}

std::vector<TokenRows> x_of(Groups groups) {
  std::vector<TokenRows> x;
  for (const LinearGroup& group : groups) x.push_back(group.x);
  return x;
}

// Places for arrays of n_cols per row, of each group its own.
std::vector<float*> places(Arena& arena, std::span<const TokenRows> groups, int64_t n_cols,
                           const GroupSize& size) {
  std::vector<float*> result;
  float* at = arena.take<float>(size.n_rows * n_cols);
  for (const TokenRows& group : groups) {
    result.push_back(at);
    at += group.n_rows * n_cols;
  }
  return result;
}

std::optional<DropoutMask> dropout_of(const LoraView& lora, const NnContext& nn) {
  if (!nn.random_key || lora.dropout == 0) return std::nullopt;
  return DropoutMask{lora.dropout, random_bits(*nn.random_key, Purpose::dropout, lora.stream, 0)};
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
  return std::ranges::all_of(outputs, [&](const LinearOutput& out) {
    const Type type = out.layer->w.type;
    return nn.int8 ? has_int8_gemm(type) : nn.dot == DotInput::int8 && prefers_int8_gemm(type, n_tokens);
  });
}

// Of some groups, each with its own rows of dy.
using Rounded = std::vector<Int8Tokens>;

// dy (of the i-th layers) for the weights' own part of dx, in 8-bit integers. A row's position is that of its
// token in the batch, wherever it lies here.
Rounded round_gradients(std::span<const LinearGroupGradient> groups, size_t i, std::span<const TokenRows> dy,
                        const GroupSize& size, NnContext& nn) {
  const int64_t n_out = groups[0].layers[i].layer->n_out();
  std::vector<RandomRounding> rounding;
  for (const LinearGroupGradient& group : groups) {
    if (!nn.random_key) break;
    const uint64_t stream = group.layers[i].layer->stream;
    rounding.push_back({random_bits(*nn.random_key, Purpose::rounding, stream, 0),
                        group.dy_index ? group.dy_index : group.x.index, nn.first_row});
  }
  const bool fine = nn.fine_gradients || groups[0].layers[i].is_of_softmax;
  const TokenBytes bytes = fine ? int8_training().bytes : TokenBytes::one;
  auto* storage = nn.arena.take<std::byte>(int8_tokens_bytes(size.n_rows, n_out, bytes));
  return lora::round_gradients(storage, dy, n_out, bytes, rounding, nn.pool);
}

// The weights' own part, in 8-bit integers.
void forward_integers(Groups groups, const GroupSize& size, NnContext& nn) {
  const ArenaScope scope(nn.arena);
  const int64_t n_in = groups[0].outputs[0].layer->n_in();
  const TokenBytes bytes = nn.int8 ? int8_training().bytes : TokenBytes::one;
  auto* storage = nn.arena.take<std::byte>(int8_tokens_bytes(size.n_rows, n_in, bytes));
  const std::vector<Int8Tokens> rounded = round_tokens(storage, x_of(groups), n_in, bytes, nn.pool);
  for (size_t i = 0; i < groups[0].outputs.size(); ++i) {
    if (!groups[0].outputs[i].y) continue;
    std::vector<Int8Product> products;
    for (size_t g = 0; g < groups.size(); ++g)
      products.push_back({groups[g].outputs[i].y, groups[g].outputs[i].layer->w, &rounded[g]});
    gemm_int8(products, groups[0].outputs[i].accumulate, nn.scratch, nn.pool);
  }
}

// Weights are read once and multiplied as they come, nothing is packed; what reads x goes in one loop.
// Without `whole`, only what adapters add.
void forward_few(Groups groups, const GroupSize& size, bool whole, NnContext& nn) {
  struct Low {
    const LinearOutput* out;
    const LoraView* lora;
    float* xa;  // (n_rows, rank)
    int64_t n_rows;
  };
  const int64_t n_in = groups[0].outputs[0].layer->n_in();
  const std::vector<TokenRows> x = gathered(x_of(groups), n_in, size, nn);
  std::vector<std::vector<DotProduct>> products(groups.size());
  std::vector<Low> lows;
  for (size_t i = 0; i < groups[0].outputs.size(); ++i) {
    std::vector<float*> taken;
    if (!groups[0].outputs[i].xa) taken = places(nn.arena, x, rank_sum(*groups[0].outputs[i].layer), size);
    for (size_t g = 0; g < groups.size(); ++g) {
      const LinearOutput& out = groups[g].outputs[i];
      if (out.y && whole) products[g].push_back({out.y, out.layer->w, out.accumulate});
      float* xa = out.xa ? out.xa : taken[g];
      for (const LoraView& lora : out.layer->loras) {
        products[g].push_back({xa, f32_matrix(lora.a, lora.rank, n_in)});
        lows.push_back({&out, &lora, xa, x[g].n_rows});
        xa += x[g].n_rows * lora.rank;
      }
    }
  }
  std::vector<DotGroup> dots;
  for (size_t g = 0; g < groups.size(); ++g) dots.push_back({products[g], x[g].x, x[g].n_rows});
  dot_rows(dots, nn.dot, nn.arena.take<std::byte>(dot_scratch_bytes(size.n_rows, n_in)), nn.pool);
  for (const Low& low : lows) {
    if (!low.out->y) continue;
    const ArenaScope scope(nn.arena);
    const int64_t n = low.n_rows * low.lora->rank;
    float* scaled = nn.arena.take<float>(n);
    for (int64_t i = 0; i < n && !nn.pool.is_dry(); ++i) scaled[i] = low.xa[i] * low.lora->scale;
    const DotProduct up = {low.out->y, f32_matrix(low.lora->b, low.out->layer->n_out(), low.lora->rank),
                           true};
    dot_rows({&up, 1}, scaled, low.n_rows, DotInput::f32, nullptr, nn.pool);
  }
}

// Products of every group with its own terms.
std::vector<GemmProduct> products_of(std::span<float* const> outs,
                                     const std::vector<std::vector<GemmTerm>>& terms) {
  std::vector<GemmProduct> products;
  for (size_t g = 0; g < terms.size(); ++g) products.push_back({outs[g], terms[g]});
  return products;
}

// Of the i-th outputs. Without `whole`, only what adapters add.
void forward_many(Groups groups, size_t i, std::span<const PackedTokens> packed_x,
                  std::span<const TokenRows> x, const GroupSize& size, bool whole, NnContext& nn) {
  const ArenaScope scope(nn.arena);
  const auto layer = [&](size_t g) -> const Linear& { return *groups[g].outputs[i].layer; };
  const int64_t n_in = layer(0).n_in(), n_out = layer(0).n_out();
  std::vector<float*> xa, y;
  if (!groups[0].outputs[i].xa) xa = places(nn.arena, x, rank_sum(layer(0)), size);
  std::vector<std::vector<GemmTerm>> terms(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].outputs[i].xa) xa.push_back(groups[g].outputs[i].xa);
    y.push_back(groups[g].outputs[i].y);
    if (whole) terms[g].push_back({packed_x[g], layer(g).w});
  }
  for (size_t k = 0; k < layer(0).loras.size(); ++k) {
    const ProfileScope part(nn.profile, Part::lora);
    const int64_t rank = layer(0).loras[k].rank;
    std::vector<TokenRows> low;
    {
      const ArenaScope dropped_scope(nn.arena);
      std::vector<TokenRows> read(x.begin(), x.end());
      const bool drops = dropout_of(layer(0).loras[k], nn).has_value();
      if (drops) {
        const std::vector<float*> dropped = places(nn.arena, x, n_in, size);
        for (size_t g = 0; g < groups.size(); ++g) {
          dropout_apply(dropped[g], x[g].x, x[g].n_rows, n_in, *dropout_of(layer(g).loras[k], nn), false,
                        nn.pool);
          read[g].x = dropped[g];
        }
      }
      const Packed packed_dropped = drops ? packed_by(pack_forward, read, n_in, 1.0f, size, nn) : Packed();
      std::vector<std::vector<GemmTerm>> downs;
      for (size_t g = 0; g < groups.size(); ++g) {
        downs.push_back(
            {{drops ? packed_dropped[g] : packed_x[g], f32_matrix(layer(g).loras[k].a, rank, n_in)}});
      }
      gemm_forward(products_of(xa, downs), false, nn.input, nn.scratch, nn.pool);
    }
    for (size_t g = 0; g < groups.size(); ++g) low.push_back({xa[g], nullptr, x[g].n_rows});
    const Packed packed_low = packed_by(pack_forward, low, rank, layer(0).loras[k].scale, size, nn);
    for (size_t g = 0; g < groups.size(); ++g) {
      terms[g].push_back({packed_low[g], f32_matrix(layer(g).loras[k].b, n_out, rank)});
      xa[g] += x[g].n_rows * rank;
    }
  }
  if (!y[0] || terms[0].empty()) return;
  gemm_forward(products_of(y, terms), groups[0].outputs[i].accumulate || !whole, nn.input, nn.scratch,
               nn.pool);
}

// Watching is no part of a plan: what is gathered for it lies outside of the arena.
void show(const LinearGroup& group, int64_t n_in, NnContext& nn) {
  const TokenRows& x = group.x;
  std::vector<float> rows(x.index ? size_t(x.n_rows * n_in) : 0);
  for (int64_t r = 0; x.index && r < x.n_rows; ++r)
    std::copy_n(x.row(r, n_in), n_in, &rows[size_t(r * n_in)]);
  for (const LinearOutput& out : group.outputs) nn.observe(*out.layer, x.index ? rows.data() : x.x, x.n_rows);
}

}  // namespace

int64_t xa_size(const Linear& layer, int64_t n_tokens) {
  return n_tokens * rank_sum(layer);
}

void linear_forward(std::span<const LinearOutput> outputs, const float* x, int64_t n_tokens, NnContext& nn) {
  const LinearGroup group = {outputs, {x, nullptr, n_tokens}};
  linear_forward({&group, 1}, {n_tokens, n_tokens, padded_rows(nn.input, n_tokens)}, nn);
}

void linear_forward(Groups groups, const GroupSize& size, NnContext& nn) {
  const ProfileScope part(nn.profile, Part::gemm_forward);
  const ArenaScope scope(nn.arena);
  const std::span<const LinearOutput> outputs = groups[0].outputs;
  const int64_t n_in = outputs[0].layer->n_in();
  const bool has_weight = !outputs[0].layer->adapters_only;
  const bool integers = has_weight && wants_integers(outputs, size.n_tokens, nn), drop = drops(outputs, nn);
  const bool whole = has_weight && !integers;
  if (integers) forward_integers(groups, size, nn);
  const bool done = integers && std::ranges::all_of(outputs, [](const LinearOutput& out) {
                      return out.layer->loras.empty();
                    });
  if (!done && size.n_tokens <= kDotTokens && !drop) {
    forward_few(groups, size, whole, nn);
  } else if (!done) {
    std::vector<TokenRows> x = x_of(groups);
    if (drop) x = gathered(x, n_in, size, nn);
    const Packed packed_x = packed_by(pack_forward, x, n_in, 1.0f, size, nn);
    for (size_t i = 0; i < outputs.size(); ++i) forward_many(groups, i, packed_x, x, size, whole, nn);
  }
  for (const LinearGroup& group : groups) {
    if (nn.observe && has_weight) show(group, n_in, nn);
    for (const LinearOutput& out : group.outputs) {
      if (out.y && out.layer->bias) add_bias(out, group.x.n_rows, nn.pool);
    }
  }
}

void linear_backward(float* dx, std::span<const LinearGradient> layers, const float* x, int64_t n_tokens,
                     NnContext& nn) {
  const LinearGroupGradient group = {dx, layers, {x, nullptr, n_tokens}};
  linear_backward({&group, 1}, {n_tokens, n_tokens, padded_rows(nn.input, n_tokens)}, nn);
}

void linear_backward(std::span<const LinearGroupGradient> groups, const GroupSize& size, NnContext& nn) {
  const ProfileScope part(nn.profile, Part::gemm_input_gradient);
  const ArenaScope scope(nn.arena);
  const size_t n_groups = groups.size();
  std::vector<TokenRows> x;
  std::vector<float*> dx;
  for (const LinearGroupGradient& group : groups) x.push_back(group.x), dx.push_back(group.dx);
  const bool is_trained = std::ranges::any_of(groups[0].layers, [](const LinearGradient& gradient) {
    return std::ranges::any_of(gradient.layer->loras, [](const LoraView& lora) { return lora.da; });
  });
  const int64_t n_in = groups[0].layers[0].layer->n_in();
  if (is_trained) x = gathered(x, n_in, size, nn);

  std::vector<std::vector<GemmTerm>> terms(n_groups);
  struct Masked {
    std::vector<std::vector<GemmTerm>> downs;
    std::vector<DropoutMask> masks;
  };
  std::vector<Masked> masked;
  std::vector<Rounded> rounded;
  rounded.reserve(groups[0].layers.size());
  std::vector<std::vector<Int8Term>> integer_terms(n_groups);
  for (size_t i = 0; i < groups[0].layers.size(); ++i) {
    const auto layer = [&](size_t g) -> const Linear& { return *groups[g].layers[i].layer; };
    const int64_t n_out = layer(0).n_out();
    std::vector<TokenRows> dy;
    std::vector<const float*> xa;
    for (const LinearGroupGradient& group : groups) {
      dy.push_back({group.layers[i].dy, group.dy_index, group.x.n_rows});
      xa.push_back(group.layers[i].xa);
    }
    const bool has_weight = dx[0] && !layer(0).adapters_only;
    const bool integers = has_weight && nn.int8 && has_int8_gemm(layer(0).w.type);
    if (integers) {
      rounded.push_back(round_gradients(groups, i, dy, size, nn));
      for (size_t g = 0; g < n_groups; ++g) integer_terms[g].push_back({layer(g).w, &rounded.back()[g]});
      if (layer(0).loras.empty()) continue;
    }
    const Packed packed_dy = packed_by(pack_gradient, dy, n_out, 1.0f, size, nn);
    if (is_trained) dy = gathered(dy, n_out, size, nn);
    for (size_t g = 0; g < n_groups && has_weight && !integers; ++g)
      terms[g].push_back({packed_dy[g], layer(g).w});
    for (size_t k = 0; k < layer(0).loras.size(); ++k) {
      const ProfileScope lora_part(nn.profile, Part::lora);
      const int64_t rank = layer(0).loras[k].rank;
      const std::vector<float*> dxa = places(nn.arena, x, rank, size);  // dy B
      std::vector<std::vector<GemmTerm>> ups;
      std::vector<TokenRows> low;
      for (size_t g = 0; g < n_groups; ++g) {
        ups.push_back({{packed_dy[g], f32_matrix(layer(g).loras[k].b, n_out, rank)}});
        low.push_back({dxa[g], nullptr, x[g].n_rows});
      }
      gemm_input_gradient(products_of(dxa, ups), false, nn.input, nn.scratch, nn.pool);
      const bool has_mask = dropout_of(layer(0).loras[k], nn).has_value();
      if (layer(0).loras[k].da) {
        const ArenaScope dropped_scope(nn.arena);
        float* dropped = has_mask ? nn.arena.take<float>(size.n_rows * n_in) : nullptr;
        for (size_t g = 0; g < n_groups; ++g) {
          const LoraView& lora = layer(g).loras[k];
          const float* lora_x = x[g].x;
          if (has_mask) {
            dropout_apply(dropped, lora_x, x[g].n_rows, n_in, *dropout_of(lora, nn), false, nn.pool);
            lora_x = dropped;
          }
          gemm_weight_gradient(lora.da, dxa[g], lora_x, x[g].n_rows, rank, n_in, lora.scale, nn.pool);
          gemm_weight_gradient(lora.db, dy[g].x, xa[g], x[g].n_rows, n_out, rank, lora.scale, nn.pool);
        }
      }
      for (size_t g = 0; g < n_groups && xa[0]; ++g) xa[g] += x[g].n_rows * rank;
      if (!dx[0]) continue;
      const Packed packed_low = packed_by(pack_gradient, low, rank, layer(0).loras[k].scale, size, nn);
      if (has_mask) masked.push_back({std::vector<std::vector<GemmTerm>>(n_groups), {}});
      for (size_t g = 0; g < n_groups; ++g) {
        const GemmTerm down = {packed_low[g], f32_matrix(layer(g).loras[k].a, rank, n_in)};
        (has_mask ? masked.back().downs[g] : terms[g]).push_back(down);
        if (has_mask) masked.back().masks.push_back(*dropout_of(layer(g).loras[k], nn));
      }
    }
  }
  if (!dx[0]) return;
  const bool integers = !rounded.empty();
  if (integers) {
    std::vector<Int8Gradient> gradients;
    for (size_t g = 0; g < n_groups; ++g) gradients.push_back({dx[g], integer_terms[g]});
    gemm_int8_input_gradient(gradients, nn.scratch, nn.pool);
  }
  if (!terms[0].empty()) {
    gemm_input_gradient(products_of(dx, terms), integers, nn.input, nn.scratch, nn.pool);
  } else if (!integers) {  // adapters alone, which drop some of their input
    for (size_t g = 0; g < n_groups; ++g) set_zero(dx[g], x[g].n_rows * n_in, nn.pool);
  }
  for (const auto& [downs, masks] : masked) {
    const ArenaScope dropped_scope(nn.arena);
    const std::vector<float*> part_of_dx = places(nn.arena, x, n_in, size);
    gemm_input_gradient(products_of(part_of_dx, downs), false, nn.input, nn.scratch, nn.pool);
    for (size_t g = 0; g < n_groups; ++g)
      dropout_apply(dx[g], part_of_dx[g], x[g].n_rows, n_in, masks[g], true, nn.pool);
  }
}

}  // namespace lora
