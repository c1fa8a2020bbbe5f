#include "model/block.h"

#include "nn/elementwise.h"

namespace lora {
namespace {

// Whether bodies add to the stream as they are.
bool adds_plainly(const Branch& branch) {
  return !branch.after && branch.scale == 1 && branch.bodies.size() == 1;
}

// outputs: of each body that has a norm of its own behind it; without it they are taken here.
void bodies_forward(float* y, bool adds, const float* x, int64_t n_embd, const Branch& branch,
                    const std::vector<BodyKept>& kept, std::span<float* const> outputs, const Tokens& tokens,
                    std::span<const Past> past, NnContext& nn) {
  const int64_t size = tokens.n_tokens * n_embd;
  for (size_t i = 0; i < branch.bodies.size(); ++i) {
    const ArenaScope scope(nn.arena);
    const BodyInput in(x, branch.before_body(i), tokens.n_tokens, n_embd);
    const Norm* after = branch.after_body(i);
    const bool adds_now = adds || i > 0;
    float* output = !after ? y : outputs.empty() ? nn.arena.take<float>(size) : outputs[i];
    std::visit(
        [&](const auto& body) {
          using Kept = decltype(take_kept(nn.arena, body, 0, Pass::losses));
          body_forward(output, !after && adds_now, in, body, std::get<Kept>(kept[i]), tokens,
                       past.empty() ? nullptr : &past[i], nn);
        },
        branch.bodies[i]);
    if (!after || !y) continue;
    float* normed = adds_now ? nn.arena.take<float>(size) : y;
    norm_forward(normed, output, *after, tokens.n_tokens, nn.pool);
    if (adds_now) add(y, normed, 1, size, nn.pool);
  }
}

std::vector<BodyKept> take_all(const Branch& branch, int64_t n_tokens, Pass pass, NnContext& nn) {
  std::vector<BodyKept> kept;
  for (const Body& body : branch.bodies) {
    kept.push_back(
        std::visit([&](const auto& b) { return BodyKept(take_kept(nn.arena, b, n_tokens, pass)); }, body));
  }
  return kept;
}

// x *= stream_scale
void scale_stream(float* x, int64_t n, const Branch& branch, NnContext& nn) {
  if (branch.stream_scale != 1) multiply(x, x, branch.stream_scale, n, nn.pool);
}

// y += scale * after(sum)
void add_sum(float* y, const float* sum, int64_t n_embd, const Branch& branch, int64_t n_tokens,
             NnContext& nn) {
  const ArenaScope scope(nn.arena);
  const float* normed = sum;
  if (branch.after) {
    float* place = nn.arena.take<float>(n_tokens * n_embd);
    norm_forward(place, sum, branch.after, n_tokens, nn.pool);
    normed = place;
  }
  add(y, normed, branch.scale, n_tokens * n_embd, nn.pool);
}

}  // namespace

void layer_forward(float* y, const float* x, int64_t n_embd, const Layer& layer, const Tokens& tokens,
                   std::span<const Past> past, NnContext& nn) {
  const int64_t n = tokens.n_tokens, size = n * n_embd;
  if (y != x) copy(y, x, size, nn.pool);
  for (const Branch& branch : layer.branches) {
    const ArenaScope scope(nn.arena);
    // Bodies that read the stream one after the other must not see what the first one adds.
    const bool plain = adds_plainly(branch);
    float* sum = plain ? y : nn.arena.take<float>(size);
    const auto kept = take_all(branch, n, past.empty() ? Pass::losses : Pass::generation, nn);
    bodies_forward(sum, plain, y, n_embd, branch, kept, {}, tokens,
                   past.first(past.empty() ? 0 : kept.size()), nn);
    past = past.subspan(past.empty() ? 0 : kept.size());
    if (!plain) add_sum(y, sum, n_embd, branch, n, nn);
    scale_stream(y, size, branch, nn);
  }
}

LayerKept layer_forward_keeping(float* y, const float* x, int64_t n_embd, const Layer& layer,
                                const Tokens& tokens, NnContext& nn) {
  const int64_t n = tokens.n_tokens, size = n * n_embd;
  LayerKept kept;
  for (size_t i = 0; i < layer.branches.size(); ++i) {
    const Branch& branch = layer.branches[i];
    const bool is_last = i + 1 == layer.branches.size();
    BranchKept now{nn.arena.mark(), x, {}};
    now.bodies = take_all(branch, n, Pass::gradients, nn);
    for (size_t k = 0; k < branch.after_each.size(); ++k)
      now.outputs.push_back(branch.after_body(k) ? nn.arena.take<float>(size) : nullptr);
    float* sum = branch.after ? nn.arena.take<float>(size) : nullptr;
    float* out = is_last ? y : nn.arena.take<float>(size);
    now.sum = sum;
    const ArenaScope scope(nn.arena);
    // Two bodies' outputs are summed before the stream, as layer_forward does: the bits are the same.
    const bool plain = adds_plainly(branch);
    if (!sum && !plain && out) sum = nn.arena.take<float>(size);
    if (out && out != x) copy(out, x, size, nn.pool);
    bodies_forward(plain ? out : sum, plain, x, n_embd, branch, now.bodies, now.outputs, tokens, {}, nn);
    if (!plain && out) add_sum(out, sum, n_embd, branch, n, nn);
    if (out) scale_stream(out, size, branch, nn);
    x = out;
    kept.branches.push_back(std::move(now));
  }
  return kept;
}

void layer_backward(float* dx, int64_t n_embd, const Layer& layer, const LayerKept& kept,
                    const Tokens& tokens, bool needs_dx, NnContext& nn) {
  const int64_t n = tokens.n_tokens, size = n * n_embd;
  for (size_t i = layer.branches.size(); i-- > 0;) {
    const Branch& branch = layer.branches[i];
    const BranchKept& now = kept.branches[i];
    const bool needs = needs_dx || i > 0;
    if (i + 1 < layer.branches.size()) nn.arena.release(kept.branches[i + 1].begin);
    const ArenaScope scope(nn.arena);
    scale_stream(dx, size, branch, nn);
    const float* dy = dx;
    if (!adds_plainly(branch)) {
      float* dsum = nn.arena.take<float>(size);
      multiply(dsum, dx, branch.scale, size, nn.pool);
      if (branch.after) {
        float* scaled = nn.arena.take<float>(size);
        std::swap(dsum, scaled);
        norm_backward(dsum, scaled, now.sum, branch.after, n, false, nn.pool);
      }
      dy = dsum;
    }
    for (size_t k = branch.bodies.size(); k-- > 0;) {
      const ArenaScope of_body(nn.arena);
      const BodyInput in(now.x, branch.before_body(k), n, n_embd);
      const float* dbody = dy;
      if (const Norm* after = branch.after_body(k)) {
        float* before_norm = nn.arena.take<float>(size);
        norm_backward(before_norm, dy, now.outputs[k], *after, n, false, nn.pool);
        dbody = before_norm;
      }
      std::visit(
          [&](const auto& body) {
            using Kept = decltype(take_kept(nn.arena, body, 0, Pass::losses));
            body_backward(needs ? dx : nullptr, dbody, in, body, std::get<Kept>(now.bodies[k]), tokens, nn);
          },
          branch.bodies[k]);
    }
  }
  nn.arena.release(kept.branches.front().begin);
}

}  // namespace lora
