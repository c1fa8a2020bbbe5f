#include "generate/evaluate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "base/elementary.h"
#include "base/error.h"
#include "base/machine.h"
#include "generate/session.h"
#include "model/part.h"
#include "model/step.h"

namespace lora {
namespace {

// Tokens computed at once: several short windows share the decoding of the weights.
constexpr int64_t kTokensAtOnce = 512;

// Windows of one call, as a flat list.
struct Windows {
  std::vector<int32_t> ids, targets, positions;
  std::vector<AttentionSegment> segments;

  void clear() { *this = {}; }
  void add(std::span<const Token> tokens) {
    const int64_t begin = int64_t(ids.size()), n = int64_t(tokens.size());
    for (int64_t i = 0; i < n; ++i) {
      ids.push_back(tokens[size_t(i)]);
      targets.push_back(i + 1 < n ? tokens[size_t(i) + 1] : -1);
      positions.push_back(int32_t(i));
    }
    segments.push_back({begin, n, begin, n});
  }
};

// Computes calls one after the other, together with the processes that have the model's other parts.
class Stage {
 public:
  Stage(Step& step, int64_t n_tokens, int64_t n_embd, const Cluster& stages)
      : step_(step), n_embd_(n_embd), stages_(stages), in_(stages.is_first() ? 0 : n_tokens * n_embd) {}

  // What is being sent lies in the step.
  ~Stage() {
    try {
      end();
    } catch (...) {  // the error that ends this process is on its way
    }
  }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  bool is_last() const { return stages_.rank() == stages_.size() - 1; }
  // Whether the first one is asked to stop: those above do what it does.
  bool goes_on(bool asked) {
    goes_on_ = {std::byte{!asked}};
    if (stages_.is_alone()) return !asked;
    Transport& transport = stages_.transport();
    if (!stages_.is_first()) transport.wait(transport.receive(stages_.rank() - 1, goes_on_));
    if (!is_last()) transport.wait(transport.send(stages_.rank() + 1, goes_on_));
    return goes_on_[0] != std::byte{0};
  }
  // The losses are the last one's.
  void losses(double* losses, const StepTokens& tokens) {
    if (stages_.is_alone()) return step_.losses(losses, tokens);
    Transport& transport = stages_.transport();
    const size_t size = tokens.ids.size() * size_t(n_embd_);
    float* const in = stages_.is_first() ? nullptr : in_.data();
    if (in) {
      const auto stream = std::as_writable_bytes(in_.span().first(size));
      transport.wait(transport.receive(stages_.rank() - 1, stream));
    }
    if (is_last()) return step_.losses_of(0, losses, tokens, in);
    const size_t flight = n_++ % sent_.size();
    transport.wait(sent_[flight]);
    const float* const out = step_.pass(int64_t(flight), tokens, in);
    sent_[flight] = transport.send(stages_.rank() + 1, std::as_bytes(std::span(out, size)));
  }
  void end() {
    if (!stages_.is_alone()) stages_.transport().wait();
  }

 private:
  Step& step_;
  int64_t n_embd_;
  const Cluster& stages_;
  Buffer<float> in_;
  std::array<std::byte, 1> goes_on_{};
  std::array<int64_t, 2> sent_{};  // messages, of flights
  size_t n_ = 0;
};

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
  session.expect_same(options, options.cluster,
                      {{"--ctx-size", std::to_string(options.n_ctx)},
                       {"--pipeline", std::to_string(options.pipeline)},
                       {"tokens", std::to_string(n_text)}});
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
  Stage stage(step, plan.n_tokens, session.model.config.n_embd, grid.stages);
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
  bool stopped = false;
  Windows windows;
  std::vector<Token> window;
  std::vector<double> losses;
  for (int64_t call = mine.begin; call < mine.end; ++call) {
    const bool asked = call > mine.begin && grid.all.stop(events.should_stop && events.should_stop());
    stopped = !stage.goes_on(asked);
    if (stopped) break;
    windows.clear();
    const int64_t end = std::min(n_windows, (call + 1) * at_once);
    for (int64_t w = call * at_once; w < end; ++w) {
      window.clear();
      if (bos) window.push_back(session.tokenizer.bos());
      const auto begin = text.begin() + w * piece;
      window.insert(window.end(), begin, begin + std::min(piece, n_text - w * piece));
      windows.add(window);
    }
    losses.resize(windows.ids.size());
    stage.losses(losses.data(), {windows.ids, windows.targets, windows.positions, windows.segments});
    // As if the others were as far.
    const int64_t n_done = std::min(n_windows, (call + 1 - mine.begin) * at_once * grid.peers.size());
    if (!stage.is_last()) {  // the figures are not here
      if (events.on_window) events.on_window(n_done, n_windows, {});
      continue;
    }
    const double sum = sums[size_t(call)] = std::accumulate(losses.begin(), losses.end(), 0.0);
    if (!std::isfinite(sum)) {
      fail("{}: the loss is {} in window {} of {}: the model or an adapter is damaged", options.model, sum,
           end, n_windows);
    }
    tokens[size_t(call)] = double(
        std::count_if(windows.targets.begin(), windows.targets.end(), [](int32_t t) { return t >= 0; }));
    if (events.on_window) events.on_window(n_done, n_windows, over({mine.begin, call + 1}));
  }
  stage.end();
  stopped = grid.all.any(stopped);
  for (auto* figures : {&sums, &tokens}) grid.share_from_last(*figures);
  EvalResult result = over({0, n_calls});
  result.stopped = stopped;
  return result;
}

}  // namespace lora
