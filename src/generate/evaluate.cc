#include "generate/evaluate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "base/elementary.h"
#include "base/error.h"
#include "base/machine.h"
#include "generate/session.h"
#include "model/part.h"
#include "model/pipeline.h"
#include "model/step.h"

namespace lora {
namespace {

// Tokens computed at once: several short windows share the decoding of the weights.
constexpr int64_t kTokensAtOnce = 512;

void add_window(PipelineBatch& batch, std::span<const Token> tokens) {
  const int64_t begin = int64_t(batch.ids.size()), n = int64_t(tokens.size());
  for (int64_t i = 0; i < n; ++i) {
    batch.ids.push_back(tokens[size_t(i)]);
    batch.targets.push_back(i + 1 < n ? tokens[size_t(i) + 1] : -1);
    batch.positions.push_back(int32_t(i));
  }
  batch.segments.push_back({begin, n, begin, n});
}

}  // namespace

EvalResult evaluate(const EvalOptions& options, const EvalEvents& events) {
  Session session(options, events.say);
  if (events.on_open) events.on_open(session.model.gguf);
  const bool bos = session.tokenizer.add_bos() && session.tokenizer.bos() >= 0;
  if (options.n_ctx < 2) fail("--ctx-size: {} leaves no token to predict", options.n_ctx);
  warn_about_context(session, options.n_ctx, events.say);
  const std::vector<Token> text = session.tokenizer.encode(options.text);
  const int64_t piece = options.n_ctx - (bos ? 1 : 0), n_text = int64_t(text.size());
  if (n_text + (bos ? 1 : 0) < 2) fail("text: {} tokens, nothing to predict", n_text);

  const int64_t n_windows = (n_text + piece - 1) / piece;
  const int64_t longest = std::min(options.n_ctx, n_text + 1);
  const Grid grid = make_grid(options.cluster, options.pipeline);
  const NetworkPart part = forward_part(session.model, options.pipeline, grid.stages.rank());
  const auto plan_of = [&](int64_t n) {
    const int64_t n_tokens = std::min(n * options.n_ctx, n_text + n_windows);
    return plan_step(session.model, n_tokens, longest, 0, false, session.input, session.pool.size(), part);
  };
  int64_t at_once = std::max<int64_t>(1, kTokensAtOnce / options.n_ctx);
  const std::optional<uint64_t> available = available_memory();
  while (available && at_once > 1 && uint64_t(plan_of(at_once).total_bytes()) > *available) --at_once;
  at_once = std::stoll(options.cluster.from_first(std::to_string(at_once)));
  StepPlan plan = plan_of(at_once);
  set_weight_room(plan, session);
  const std::string mixed = session.expect_same(options, options.cluster, options.allow_mixed, session.input,
                                                {{"--ctx-size", std::to_string(options.n_ctx)},
                                                 {"--pipeline", std::to_string(options.pipeline)},
                                                 {"tokens", std::to_string(n_text)}});
  if (events.say && !mixed.empty()) events.say(mixed);
  expect_memory(fmt::format("windows of {} tokens", options.n_ctx), uint64_t(plan.total_bytes()),
                "a smaller --ctx-size needs less");
  Step step(session.model, plan, session.input, session.pool);
  std::map<const std::byte*, ObservedMatrix> matrices;
  if (events.on_input) {
    for (const GgufTensor& tensor : session.model.gguf.tensors()) {
      const size_t bytes = tensor.data.size() / size_t(tensor.ne[2]);
      for (int64_t i = 0; i < tensor.ne[2]; ++i)
        matrices[tensor.data.data() + size_t(i) * bytes] = {tensor.name, i, tensor.ne[2]};
    }
    step.observe([&](const Linear& layer, const float* x, int64_t n) {
      if (layer.first_row > 0) return;  // a fused tensor's first rows have shown what all of it reads
      events.on_input(matrices.at(layer.w.data), x, n, layer.n_in());
    });
  }

  // Of each call: what this process finds out of its share, and what all know at the end.
  Pipeline pipeline(step, plan, session.model.config.n_embd, grid.stages);
  const int64_t n_calls = (n_windows + at_once - 1) / at_once;
  std::vector<double> sums(size_t(n_calls), 0.0), tokens(size_t(n_calls), 0.0);
  const auto over = [&](Share calls) {
    EvalResult result;
    double sum = 0;
    for (auto c = size_t(calls.begin); c < size_t(calls.end); ++c) {
      sum += sums[c];
      result.tokens += int64_t(tokens[c]);
    }
    if (result.tokens > 0) result.nll = sum / double(result.tokens);
    result.perplexity = elementary::exp(result.nll);
    return result;
  };
  const Share mine = grid.peers.share(n_calls);
  // n calls are done here, and as if the others were as far.
  const auto tell = [&](int64_t n, const EvalResult& so_far) {
    if (events.on_window)
      events.on_window(std::min(n_windows, n * at_once * grid.peers.size()), n_windows, so_far);
  };
  const auto load = [&](int64_t i, PipelineBatch& batch) {
    batch = {};
    const int64_t first = (mine.begin + i) * at_once;
    for (int64_t w = first; w < std::min(n_windows, first + at_once); ++w) {
      std::vector<Token> window;
      if (bos) window.push_back(session.tokenizer.bos());
      const auto begin = text.begin() + w * piece;
      window.insert(window.end(), begin, begin + std::min(piece, n_text - w * piece));
      add_window(batch, window);
    }
    if (!pipeline.is_last()) tell(i, {});  // the figures are not here
  };
  const auto take = [&](int64_t i, const PipelineBatch& batch, std::span<const double> losses) {
    const int64_t call = mine.begin + i;
    const double sum = sums[size_t(call)] = std::accumulate(losses.begin(), losses.end(), 0.0);
    if (!std::isfinite(sum)) {
      fail("{}: the loss is {} in window {} of {}: the model or an adapter is damaged", options.model, sum,
           std::min(n_windows, (call + 1) * at_once), n_windows);
    }
    tokens[size_t(call)] = double(batch.n_targets());
    tell(i + 1, over({mine.begin, call + 1}));
  };
  const int64_t n_done =
      pipeline.run({.n = mine.end - mine.begin, .load = load, .losses = take, .goes_on = [&] {
                      return !grid.all.stop(events.should_stop && events.should_stop());
                    }});
  if (!pipeline.is_last()) tell(n_done, {});
  const bool stopped = grid.all.any(n_done < mine.end - mine.begin);
  for (auto* figures : {&sums, &tokens}) grid.share_from_last(*figures);
  EvalResult result = over({0, n_calls});
  result.stopped = stopped;
  return result;
}

}  // namespace lora
