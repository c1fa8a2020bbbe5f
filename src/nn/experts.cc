#include "nn/experts.h"

#include <algorithm>

#include "nn/elementwise.h"

namespace lora {
namespace {

// Rows that go through at once: an expert has at most as many as there are tokens.
constexpr int64_t kLeastChunk = 512;

int64_t chunk_rows(int64_t n_tokens, const NnContext& nn) {
  return std::max(padded_rows(nn.input, n_tokens), kLeastChunk);
}

// The router computes in f32 whatever the rest does: what it chooses should not depend on rounding.
NnContext exact(const NnContext& nn) {
  NnContext result = in_floats(nn);
  result.input = GemmInput::f32;
  result.dot = DotInput::f32;
  return result;
}

// One call's rows and how they go through its experts.
class Call {
 public:
  Call(const Experts& experts, const ExpertsKept& kept, int64_t n_tokens, NnContext& nn)
      : nn_(nn),
        e_(experts),
        r_(kept.routing),
        kept_(kept),
        n_tokens_(n_tokens),
        most_(chunk_rows(n_tokens, nn)) {}

  void announce() const {
    if (!nn_.will_read || nn_.pool.is_dry()) return;
    for (size_t e = 0; e < e_.experts.size(); ++e) {
      if (r_.begins[e] == r_.begins[e + 1]) continue;
      for_each_linear(e_.experts[e], [&](const Linear& linear, LinearRole) { nn_.will_read(linear.w); });
    }
  }

  int64_t n_ff() const { return first().up.n_out(); }
  int64_t n_embd() const { return first().down.n_out(); }
  int64_t most_rows() const { return std::min(most_, r_.n_rows); }
  GroupSize size() const { return {n_tokens_, most_rows(), most_}; }

  // A chunk's experts that have tokens, and their rows, one behind the other.
  struct Part {
    const Mlp* expert;
    int64_t index, row, n_rows;  // row: among those of the call
  };
  struct Chunk {
    std::vector<Part> parts;
    int64_t row, n_rows;
  };

  // visit(Chunk) in the order of experts. A dry run sees the largest there could be.
  template <class Visit>
  void for_each_chunk(const Visit& visit) const {
    if (nn_.pool.is_dry()) return visit(Chunk{{{&first(), 0, 0, most_rows()}}, 0, most_rows()});
    Chunk chunk{};
    int64_t padded = 0;
    for (int64_t e = 0; e < int64_t(e_.experts.size()); ++e) {
      const int64_t row = r_.begins[e], n_rows = r_.begins[e + 1] - row;
      if (n_rows == 0) continue;
      if (padded + padded_rows(nn_.input, n_rows) > most_) {
        visit(chunk);
        chunk = {{}, row, 0};
        padded = 0;
      }
      chunk.parts.push_back({&e_.experts[size_t(e)], e, row, n_rows});
      chunk.n_rows += n_rows;
      padded += padded_rows(nn_.input, n_rows);
    }
    visit(chunk);
  }

  // Where a row's part of an array of n_cols per row begins; nullptr stays so.
  static float* at(float* array, int64_t row, int64_t n_cols) {
    return array ? array + row * n_cols : nullptr;
  }

  // Of a chunk, gate and up from what the tokens read.
  void gate_up(const Chunk& chunk, const float* normed) const {
    std::vector<std::vector<LinearOutput>> outputs;
    std::vector<LinearGroup> groups;
    for (const Part& part : chunk.parts) {
      std::vector<LinearOutput>& out = outputs.emplace_back();
      const auto add = [&](const Linear& layer, float* to, float* xa) {
        out.push_back({&layer, at(to, part.row, n_ff()), false, at(xa, part.row, xa_size(layer, 1))});
      };
      if (part.expert->has_gate()) add(part.expert->gate, kept_.gate, kept_.xa_gate);
      add(part.expert->up, kept_.up, kept_.xa_up);
    }
    for (size_t i = 0; i < chunk.parts.size(); ++i)
      groups.push_back({outputs[i], {normed, r_.tokens + chunk.parts[i].row, chunk.parts[i].n_rows}});
    linear_forward(groups, size(), nn_);
  }

  // p of a chunk's rows, not yet weighted.
  void products(float* p, const Chunk& chunk) const {
    const int64_t n = chunk.n_rows * n_ff(), skipped = chunk.row * n_ff();
    if (first().has_gate()) {
      gated_forward(p, kept_.gate + skipped, kept_.up + skipped, n, first().activation, nn_.pool);
    } else {
      activation_forward(p, kept_.up + skipped, n, first().activation, nn_.pool);
    }
  }

  float weight(int64_t row) const { return r_.weights[r_.slots[row]]; }

  void apply_weights(float* p, const Chunk& chunk) const {
    nn_.pool.for_range(chunk.n_rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const float w = weight(chunk.row + r);
        for (int64_t i = 0; i < n_ff(); ++i) p[r * n_ff() + i] *= w;
      }
    });
  }

  // out (chunk's rows, n_embd) from weighted products; without out only xa.
  void down(float* out, const float* p, const Chunk& chunk) const {
    std::vector<LinearOutput> outputs;
    std::vector<LinearGroup> groups;
    for (const Part& part : chunk.parts) {
      outputs.push_back({&part.expert->down, at(out, part.row - chunk.row, n_embd()), false,
                         at(kept_.xa_down, part.row, xa_size(part.expert->down, 1))});
    }
    for (size_t i = 0; i < chunk.parts.size(); ++i) {
      const Part& part = chunk.parts[i];
      groups.push_back({{&outputs[i], 1}, {p + (part.row - chunk.row) * n_ff(), nullptr, part.n_rows}});
    }
    linear_forward(groups, size(), nn_);
  }

  // to (n_tokens, n_embd) += a chunk's rows; with_bias: and what their experts' biases add.
  void add_to_tokens(float* to, const float* rows, const Chunk& chunk, bool with_bias) const {
    const int64_t n_used = e_.form.n_used;
    nn_.pool.for_range(n_tokens_, 4, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t j = 0; j < n_used; ++j) {
          const int64_t row = r_.rows[t * n_used + j];
          if (row < chunk.row || row >= chunk.row + chunk.n_rows) continue;
          float* __restrict out = to + t * n_embd();
          const float* __restrict in = rows + (row - chunk.row) * n_embd();
          const float* bias = with_bias && !e_.down_bias.empty() ? e_.down_bias[expert_of(row)] : nullptr;
          const float w = weight(row);
          for (int64_t i = 0; i < n_embd(); ++i) out[i] += in[i];
          for (int64_t i = 0; i < n_embd() && bias; ++i) out[i] += w * bias[i];
        }
      }
    });
  }

  // dweights of a chunk's rows, and in g the gradients of gate's and up's products.
  void down_backward(float* dweights, float* g, const float* dy, const Chunk& chunk) const {
    const ArenaScope scope(nn_.arena);
    float* p = nn_.arena.take<float>(most_rows() * n_ff());
    products(p, chunk);
    std::copy_n(p, nn_.pool.is_dry() ? 0 : chunk.n_rows * n_ff(), g);
    apply_weights(g, chunk);  // what Wdown's adapters read
    std::vector<LinearGradient> gradients;
    std::vector<LinearGroupGradient> groups;
    for (const Part& part : chunk.parts) {
      gradients.push_back(
          {&part.expert->down, dy, at(kept_.xa_down, part.row, xa_size(part.expert->down, 1))});
    }
    for (size_t i = 0; i < chunk.parts.size(); ++i) {
      const Part& part = chunk.parts[i];
      float* rows = g + (part.row - chunk.row) * n_ff();
      groups.push_back({rows, {&gradients[i], 1}, {rows, nullptr, part.n_rows}, r_.tokens + part.row});
    }
    linear_backward(groups, size(), nn_);
    nn_.pool.for_range(chunk.n_rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t row = chunk.row + r;
        const float w = weight(row);
        float sum = 0;
        for (int64_t i = 0; i < n_ff(); ++i) sum += g[r * n_ff() + i] * p[r * n_ff() + i];
        if (!e_.down_bias.empty()) {
          const float* bias = e_.down_bias[expert_of(row)];
          for (int64_t i = 0; i < n_embd(); ++i) sum += dy[r_.tokens[row] * n_embd() + i] * bias[i];
        }
        dweights[r_.slots[row]] = sum;
        for (int64_t i = 0; i < n_ff(); ++i) g[r * n_ff() + i] *= w;
      }
    });
  }

  // gate and up become their gradients.
  void deactivate(const float* g, const Chunk& chunk) const {
    const int64_t n = chunk.n_rows * n_ff();
    float *gate = at(kept_.gate, chunk.row, n_ff()), *up = at(kept_.up, chunk.row, n_ff());
    if (gate) {
      gated_backward(gate, up, g, gate, up, n, first().activation, nn_.pool);
    } else {
      activation_backward(up, g, up, n, first().activation, nn_.pool);
    }
  }

  // dx (chunk's rows, n_embd), or nullptr: only adapters' gradients.
  void gate_up_backward(float* dx, const float* normed, const Chunk& chunk) const {
    std::vector<std::vector<LinearGradient>> gradients;
    std::vector<LinearGroupGradient> groups;
    for (const Part& part : chunk.parts) {
      std::vector<LinearGradient>& of_part = gradients.emplace_back();
      const auto add = [&](const Linear& layer, float* dy, float* xa) {
        of_part.push_back({&layer, at(dy, part.row, n_ff()), at(xa, part.row, xa_size(layer, 1))});
      };
      if (part.expert->has_gate()) add(part.expert->gate, kept_.gate, kept_.xa_gate);
      add(part.expert->up, kept_.up, kept_.xa_up);
    }
    for (size_t i = 0; i < chunk.parts.size(); ++i) {
      const Part& part = chunk.parts[i];
      groups.push_back({at(dx, part.row - chunk.row, n_embd()),
                        gradients[i],
                        {normed, r_.tokens + part.row, part.n_rows}});
    }
    linear_backward(groups, size(), nn_);
  }

 private:
  const Mlp& first() const { return e_.experts.front(); }
  size_t expert_of(int64_t row) const {
    return size_t(std::upper_bound(r_.begins, r_.begins + e_.experts.size() + 1, row) - r_.begins - 1);
  }

  NnContext& nn_;
  const Experts& e_;
  const Routing& r_;
  const ExpertsKept& kept_;
  int64_t n_tokens_, most_;
};

}  // namespace

ExpertsKept take_kept(Arena& arena, const Experts& e, int64_t n_tokens, Pass pass) {
  const Mlp& expert = e.experts.front();
  ExpertsKept kept;
  kept.routing = take_routing(arena, e.form, n_tokens);
  const int64_t n_rows = kept.routing.n_rows;
  if (expert.has_gate()) kept.gate = arena.take<float>(n_rows * expert.up.n_out());
  kept.up = arena.take<float>(n_rows * expert.up.n_out());
  if (pass != Pass::gradients) return kept;
  kept.xa_router = arena.take<float>(xa_size(e.router, n_tokens));
  if (expert.has_gate()) kept.xa_gate = arena.take<float>(xa_size(expert.gate, n_rows));
  kept.xa_up = arena.take<float>(xa_size(expert.up, n_rows));
  kept.xa_down = arena.take<float>(xa_size(expert.down, n_rows));
  return kept;
}

void body_forward(float* y, bool add, const BodyInput& in, const Experts& e, const ExpertsKept& kept,
                  const Tokens& tokens, const Past*, NnContext& nn) {
  const ArenaScope scope(nn.arena);
  const int64_t n = tokens.n_tokens;
  const float* normed = in.normed(nn);
  {
    const ArenaScope inner(nn.arena);
    NnContext router_nn = exact(nn);
    const LinearOutput logits = {&e.router, kept.routing.scores, false, kept.xa_router};
    const float* read = e.router_norm ? in.through(e.router_norm).normed(nn) : normed;
    linear_forward({&logits, 1}, read, n, router_nn);
  }
  route(kept.routing, e.form, e.choice_bias, nn.pool, e.expert_scale);
  const Call call(e, kept, n, nn);
  call.announce();
  if (y && !add) set_zero(y, n * call.n_embd(), nn.pool);
  float* product = nn.arena.take<float>(call.most_rows() * call.n_ff());
  float* out = y ? nn.arena.take<float>(call.most_rows() * call.n_embd()) : nullptr;
  call.for_each_chunk([&](const Call::Chunk& chunk) {
    call.gate_up(chunk, normed);
    if (!y && !kept.xa_down) return;
    call.products(product, chunk);
    call.apply_weights(product, chunk);
    call.down(out, product, chunk);
    if (y) call.add_to_tokens(y, out, chunk, true);
  });
}

void body_backward(float* dx, const float* dy, const BodyInput& in, const Experts& e, const ExpertsKept& kept,
                   const Tokens& tokens, NnContext& nn) {
  const ArenaScope scope(nn.arena);
  const int64_t n = tokens.n_tokens;
  const Call call(e, kept, n, nn);
  call.announce();
  float* dweights = nn.arena.take<float>(kept.routing.n_rows);
  {
    const ArenaScope inner(nn.arena);
    float* g = nn.arena.take<float>(call.most_rows() * call.n_ff());
    call.for_each_chunk([&](const Call::Chunk& chunk) {
      call.down_backward(dweights, g, dy, chunk);
      call.deactivate(g, chunk);
    });
  }
  const float* normed = in.normed(nn);
  float* dnormed = in.wants_gradient(dx) ? nn.arena.take<float>(n * call.n_embd()) : nullptr;
  {
    const ArenaScope inner(nn.arena);
    float* dlogits = nn.arena.take<float>(n * e.form.n_expert);
    route_backward(dlogits, dweights, kept.routing, e.form, nn.pool, e.expert_scale);
    NnContext router_nn = exact(nn);
    const LinearGradient router = {&e.router, dlogits, kept.xa_router};
    if (e.router_norm) {
      const BodyInput own = in.through(e.router_norm);
      const float* read = own.normed(nn);
      float* dread = own.wants_gradient(dx) ? own.gradient_place(read, nn) : nullptr;
      linear_backward(dread, {&router, 1}, read, n, router_nn);
      if (dread) own.add_gradient(dx, dread, nn);
      if (dnormed) set_zero(dnormed, n * call.n_embd(), nn.pool);
    } else {
      linear_backward(dnormed, {&router, 1}, normed, n, router_nn);
    }
  }
  float* rows = dnormed ? nn.arena.take<float>(call.most_rows() * call.n_embd()) : nullptr;
  call.for_each_chunk([&](const Call::Chunk& chunk) {
    call.gate_up_backward(rows, normed, chunk);
    if (dnormed) call.add_to_tokens(dnormed, rows, chunk, false);
  });
  if (dnormed) in.add_gradient(dx, dnormed, nn);
}

}  // namespace lora
