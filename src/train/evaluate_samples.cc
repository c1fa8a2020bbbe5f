#include "train/evaluate_samples.h"

#include <algorithm>
#include <cmath>

#include "base/elementary.h"
#include "base/error.h"
#include "base/machine.h"
#include "generate/session.h"
#include "train/cut_text.h"
#include "train/held_out.h"
#include "train/run.h"
#include "train/setup.h"

namespace lora {

SamplesLoss evaluate_samples(const ModelOptions& model, const FinetuneOptions& asked,
                             const EvalEvents& events) {
  const FinetuneOptions options = with_data_files(asked, events.say);
  Session session(model, events.say);
  if (events.on_open) events.on_open(session.model.gguf);
  warn_about_context(session, options.n_ctx, events.say);
  const Dataset data(options.train_data, session.tokenizer, text_options(options), session.pool);
  expect_whole(options, data.report(), "--train-data", session.model.config.n_ctx_train);
  if (events.say) {
    for (const std::string& line : describe_samples(options, data.report(), session.tokenizer))
      events.say(line);
  }
  const std::vector<int64_t> samples = data.side_by_side();
  const int64_t row = std::min(options.n_ctx, data.report().longest + 1);
  const int64_t n_batch = std::min(options.n_batch, int64_t(samples.size()));
  const Grid grid = make_grid(options.cluster, options.pipeline);
  const NetworkPart part = forward_part(session.model, options.pipeline, grid.stages.rank());
  const Arithmetic arithmetic = arithmetic_of(session.model, model.precision);
  for (const std::string& note : arithmetic_notes(session.model, model.precision, arithmetic)) {
    if (events.say) events.say(note);
  }
  StepPlan plan =
      plan_step(session.model, n_batch * row, row, 0, false, arithmetic, session.pool.size(), part);
  set_weight_room(plan, session);
  expect_memory(fmt::format("samples of {} tokens", row), uint64_t(plan.total_bytes()),
                arithmetic.int8 ? "a smaller --ctx-size needs less, and so does --precision f32"
                                : "a smaller --ctx-size needs less");
  Step step(session.model, plan, arithmetic, session.pool);
  Pipeline pipeline(step, plan, session.model.config.n_embd, grid.stages);

  SamplesLoss loss;
  const Cluster& cluster = options.cluster;
  const std::string mixed =
      session.expect_same(model, cluster, options.allow_mixed, arithmetic,
                          {{"data", fmt::format("{:016x} {:016x}", data.file_hash(), data.token_hash())},
                           {"samples", std::to_string(samples.size())},
                           {"--ctx-size", std::to_string(options.n_ctx)},
                           {"--pipeline", std::to_string(options.pipeline)},
                           {"--batch", std::to_string(n_batch)}});
  if (events.say && !mixed.empty()) events.say(mixed);
  const auto so_far = [&](const HeldOutLoss& held_out, int64_t n_done) {
    loss.samples = n_done;
    loss.result.nll = held_out.loss;
    loss.result.perplexity = elementary::exp(held_out.loss);
    loss.result.tokens = held_out.tokens;
  };
  const HeldOutLoss all = held_out_loss(
      pipeline, data, samples, n_batch, options.n_ctx,
      [&](const HeldOutLoss& held_out, int64_t n_done) {
        so_far(held_out, n_done);
        if (events.on_window) events.on_window(n_done, int64_t(samples.size()), loss.result);
        return !cluster.stop(events.should_stop && events.should_stop());
      },
      grid);
  loss.result.stopped = all.stopped;
  so_far(all, all.stopped ? loss.samples : int64_t(samples.size()));
  if (!std::isfinite(all.loss)) {
    fail("{}: the loss is {} in sample {} of {}: the model or an adapter is damaged", model.model, all.loss,
         all.bad + 1, data.n_samples());
  }
  return loss;
}

}  // namespace lora
