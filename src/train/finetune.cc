#include "train/finetune.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/elementary.h"
#include "base/error.h"
#include "base/file_status.h"
#include "base/lost_pages.h"
#include "base/machine.h"
#include "base/plural.h"
#include "base/printable.h"
#include "base/process.h"
#include "base/size_text.h"
#include "base/timing.h"
#include "kernels/isa.h"
#include "kernels/optimizer/adamw.h"
#include "train/divergence.h"
#include "train/metrics.h"
#include "train/outputs.h"
#include "train/sample_loss.h"
#include "train/sample_text.h"
#include "train/saver.h"
#include "train/schedule.h"
#include "train/setup.h"

namespace lora {
namespace {

struct Evaluated {
  HeldOutLoss held_out;
  std::string sample;  // what the prompt was continued with, "" without one
};

// The right to write what the run writes, as far as no data is needed for it, which may take long to read.
std::vector<Hold> take_outputs(const FinetuneOptions& options, const Say& say) {
  std::vector<Hold> holds = hold_outputs(options, find_checkpoint(options).path, say);
  const Resume resume = find_checkpoint(options);  // now that nobody else writes it
  if (!resume.path.empty()) read_found(options, resume.path, read_checkpoint_head);
  check_outputs(options, resume.path, options.epochs ? 0 : iteration_count(options, 0));
  if (resume.path.empty() && !resume.overwrites) expect_no_files(options);
  return holds;
}

class Run {
 public:
  Run(const FinetuneOptions& options, const FinetuneEvents& events)
      : options_(options),
        events_(events),
        grid_(make_grid(options.cluster, options.pipeline)),
        holds_(take_outputs(options, events.say)),
        setup_(options, events.say),
        remaining_(setup_.mean_tokens()) {}

  FinetuneResult train() {
    say_who_works();
    check_outputs(options_, setup_.resume.path, std::max(setup_.n_iter, state_.iteration));
    std::string further;
    if (setup_.resumed) {
      further = expect_own_files(options_, setup_.resume.path, state_.iteration, setup_.settings);
      last_good_ = setup_.resume.path;
    } else {
      state_.evaluation_due = true;  // of the model before training
    }
    for (const std::string& line : describe(setup_)) say(line);
    take_prompt();
    if (!further.empty()) say(further);
    result_.iterations = state_.iteration;
    if (setup_.held_out.empty()) state_.evaluation_due = false;  // --val-data may be left out on resume
    if (state_.iteration >= setup_.n_iter) {
      result_.why = fmt::format("iteration {} of {} was reached already", state_.iteration, setup_.n_iter);
    } else {
      result_.why = converged();
    }
    if (!result_.why.empty()) result_.why += ", so nothing was trained (--checkpoint-in '' begins anew)";
    if (result_.why.empty() || state_.evaluation_due) iterate_or_name_the_last_checkpoint();
    if (!metrics_.is_open()) cut_back_metrics();
    save_at_the_end();
    if (options_.save_best && state_.evaluations.best) {
      if (file_exists(best_path(options_))) {
        result_.best_path = best_path(options_);
      } else {
        say(fmt::format("warning: {}: the best adapter is not there; the last one is what is left",
                        best_path(options_)));
      }
    }
    result_.evaluations = state_.evaluations;
    result_.chat_templates = setup_.data.report().chat_templates;
    result_.compute = fmt::format("{} kernels, {} inputs", name(isa()), name(setup_.arithmetic));
    return result_;
  }

 private:
  void say(const std::string& line) const {
    if (events_.say) events_.say(line);
  }
  // Here or, soon after, in any process of the run.
  bool stop_asked() const { return cluster_.stop(events_.should_stop && events_.should_stop()); }

  void say_who_works() const {
    if (cluster_.is_alone()) return;
    std::map<std::string, int> machines;
    for (int r = 0; r < cluster_.size(); ++r) ++machines[cluster_.host(r)];
    std::string names;
    for (const auto& [host, n] : machines)
      names += fmt::format("{}{}{}", names.empty() ? "" : ", ", host, n > 1 ? fmt::format(" ({})", n) : "");
    say(fmt::format("mpi: {} processes on {}: {}", cluster_.size(),
                    count_of(int64_t(machines.size()), "machine"), names));
    const int64_t n = options_.grad_acc, size = grid_.peers.size();
    const char* who = options_.pipeline > 1 ? "pipelines" : "processes";
    if (n < size) {
      say(fmt::format(
          "warning: an iteration has {} of {} samples (--grad-acc): {} of {} {} have nothing to do",
          count_of(n, "batch", "batches"), options_.n_batch, size - n, size, who));
    } else if (n % size != 0) {
      say(
          fmt::format("note: the {} batches of an iteration (--grad-acc) are not the same number for each of "
                      "{} {}: "
                      "some wait for others",
                      n, size, who));
    }
    if (options_.pipeline > 1) say(describe_pipeline());
    if (!setup_.mixed.empty())
      say("note: --allow-mixed: the adapter's bytes depend on who computes what: " + setup_.mixed);
  }

  std::string describe_pipeline() const {
    std::string stages;
    for (const NetworkPart& part : network_parts(setup_.model, options_.pipeline)) {
      stages += fmt::format("{}layers {} to {} ({})", stages.empty() ? "" : ", ", part.layers.begin,
                            part.layers.end() - 1, format_size(weight_bytes(setup_.model, part)));
    }
    const Share most = grid_.peers.share_of(options_.grad_acc, grid_.peers.size() - 1);
    const double n = double(most.end - most.begin), waits = options_.pipeline - 1;
    return fmt::format("pipeline: {} stages: {}; of {:.0f} batches each waits {:.0f}% of the time",
                       options_.pipeline, stages, n, 100 * waits / (n + waits));
  }

  // One that keeps all others waiting is named, once until another one does.
  void say_who_is_slow(const std::vector<double>& seconds) {
    if (cluster_.is_alone()) return;
    std::vector<double> of_a_batch, of_others;
    for (int r = 0; r < cluster_.size(); ++r) {
      const Share share = grid_.peers.share_of(options_.grad_acc, r / options_.pipeline);
      of_a_batch.push_back(share.begin < share.end ? seconds[size_t(r)] / double(share.end - share.begin)
                                                   : 0);
    }
    const auto slowest = std::ranges::max_element(of_a_batch);
    const int rank = int(slowest - of_a_batch.begin());
    for (int r = 0; r < cluster_.size(); ++r) {
      if (r != rank && of_a_batch[size_t(r)] > 0) of_others.push_back(of_a_batch[size_t(r)]);
    }
    if (of_others.empty()) return;
    const double usual = median(of_others);
    n_slow_ = *slowest <= 1.3 * usual ? 0 : rank == slow_ ? n_slow_ + 1 : 1;
    slow_ = rank;
    if (n_slow_ != 3 || rank == said_slow_) return;
    said_slow_ = rank;
    say(fmt::format("note: {} takes {:.1f} times as long as the others, which wait for it",
                    cluster_.name(rank), *slowest / usual));
  }

  // To the iteration that the run begins after.
  void cut_back_metrics() {
    if (!options_.metrics.empty()) metrics_ = open_metrics(options_.metrics, state_.iteration);
  }

  // Of a file that was lost nothing can be trusted, so nothing is saved.
  void iterate_or_name_the_last_checkpoint() {
    try {
      iterate();
    } catch (const Error& e) {
      if (lost_pages().empty()) throw;
      fail("{}; {}", e.what(), last_good());
    }
  }

  void iterate() {
    setup_.plan_memory();
    say(describe_memory(setup_));
    Step step(setup_.model, setup_.plan, setup_.arithmetic, setup_.pool);
    Pipeline pipeline(step, setup_.plan, setup_.model.config.n_embd, grid_.stages);
    SampleLoss samples(pipeline, setup_.data, setup_.batch_options, options_.grad_acc, setup_.parameters,
                       setup_.norms, state_.seed, options_.neftune, grid_,
                       owned_by_stage(options_, setup_.model, setup_.parameters));
    std::optional<Lbfgs> lbfgs;
    if (options_.optimizer == Optimizer::lbfgs) lbfgs.emplace(setup_.parameters, setup_.lbfgs, setup_.pool);
    if (setup_.resumed) {
      cut_back_metrics();
      finish_save();
    }
    step.set_give_up([this] { return stop_asked(); });
    if (state_.evaluation_due && !evaluate_at_start(pipeline)) {
      stop();
      return;
    }
    if (result_.why.empty()) result_.why = converged();  // which that evaluation may have brought about
    if (!result_.why.empty()) return;

    result_.why = fmt::format("iteration {} was reached", setup_.n_iter);
    while (state_.iteration < setup_.n_iter) {
      std::optional<IterationRecord> record = one_iteration(samples, lbfgs);
      if (!record) break;  // dropped
      result_.iterations = state_.iteration;
      std::string why = converged();
      if (!setup_.held_out.empty() &&
          (state_.iteration == setup_.n_iter || !why.empty() || is_multiple(options_.eval_every))) {
        if (const std::optional<Evaluated> evaluated = evaluate(pipeline)) {
          record->val_loss = evaluated->held_out.loss;
          keep_best(*evaluated);
          if (why.empty()) why = converged();
        }
      }
      if (record->iter == 1) record->val_loss_before = state_.evaluations.before;
      finish(*record);
      warn_of_divergence(*record);
      if (state_.evaluation_due) break;
      if (!why.empty()) {
        result_.why = why;
        return;
      }
      if (cluster_.any(stop_asked())) break;
      if (state_.iteration < setup_.n_iter && is_multiple(options_.save_every)) save_on_the_way();
    }
    if (state_.iteration < setup_.n_iter || state_.evaluation_due) stop();
  }

  void stop() {
    result_.stopped = true;
    result_.why = "it was asked to stop";
  }

  // From here on the files under the run's names are its own: killed at any moment, it finds its place. Not
  // before a step is known to work, so that a run which cannot even begin leaves nothing behind.
  void begin() {
    const std::vector<std::string> paths = output_paths(options_, options_.checkpoint_out, 0);
    if (!paths.empty() && !file_exists(paths.back())) begun_ = paths.back();
    last_good_ = save_beginning(setup_);
    try {
      cut_back_metrics();
    } catch (const Error&) {
      take_back_beginning();
      throw;
    }
  }

  void take_back_beginning() {
    if (begun_.empty()) return;
    remove_file(begun_);
    last_good_.clear();
  }

  // Why the run is over before its last iteration; empty: it is not.
  std::string converged() const {
    const std::string why = state_.convergence.reached(options_);
    const Evaluations& e = state_.evaluations;
    if (!why.empty() || options_.patience <= 0 || e.n_no_better < options_.patience) return why;
    return fmt::format("--patience: {} evaluations without a held-out loss {}", e.n_no_better,
                       e.best ? fmt::format("below {:.6f}", *e.best) : "that is a number");
  }

  bool is_multiple(int64_t every) const { return every > 0 && state_.iteration % every == 0; }

  // nullopt if it was dropped since the run was asked to stop; nothing has changed then.
  std::optional<IterationRecord> one_iteration(SampleLoss& samples, std::optional<Lbfgs>& lbfgs) {
    Clock::time_point start = Clock::now();
    samples.begin(state_.cursor - state_.shuffle_begin);
    const std::optional<double> loss = samples.evaluate();
    if (!loss) return std::nullopt;
    IterationRecord record;
    record.iter = state_.iteration + 1;
    record.loss = *loss;
    record.tokens = samples.tokens();
    say_who_is_slow(samples.seconds());
    record.grad_norm = std::sqrt(
        sum_of_squares(setup_.parameters.gradients.data(), setup_.parameters.gradients.size(), setup_.pool));
    expect_finite(record, samples);
    if (state_.iteration == 0 && !setup_.resumed) {
      const Clock::time_point before = Clock::now();
      begin();
      start += Clock::now() - before;  // saving is no part of an iteration's time
    }
    if (lbfgs) {
      const Lbfgs::Outcome outcome = lbfgs->step(*loss, [&] { return samples.evaluate(); });
      if (outcome.given_up) return std::nullopt;
      record.sched = 1;
      record.lr = outcome.step;
    } else {
      record.sched = schedule(record.iter, setup_.n_iter, options_);
      record.lr = record.sched * options_.adam_alpha;
      adam_update(record);
    }
    if (options_.allow_mixed) take_values_of_the_first();
    state_.iteration = record.iter;
    state_.cursor = samples.end() + state_.shuffle_begin;
    state_.convergence.add(record.loss, options_);
    record.sample = state_.cursor;
    record.epoch = double(state_.cursor) / double(setup_.n_samples());
    record.dt_s = seconds_since(start);
    record.tok_per_s = double(record.tokens) / record.dt_s;
    record.rss_bytes = resident_bytes();
    record.precision = name(setup_.arithmetic);
    remaining_.add_iteration(record.dt_s, samples.n_inputs());
    return record;
  }

  // Where kernel sets differ, so do their updates.
  void take_values_of_the_first() {
    if (cluster_.is_alone()) return;
    const std::span<std::byte> values = std::as_writable_bytes(setup_.parameters.values.span());
    std::vector<std::byte> bytes;
    if (cluster_.is_first()) bytes.assign(values.begin(), values.end());
    std::ranges::copy(cluster_.from_first(std::move(bytes)), values.begin());
  }

  void expect_finite(const IterationRecord& record, const SampleLoss& samples) const {
    if (std::isfinite(record.loss) && std::isfinite(record.grad_norm)) return;
    std::string_view advice;
    if (record.iter == 1) {
      advice = "; no step was made before, so the model is damaged";
    } else if (options_.optimizer == Optimizer::adam) {
      advice = "; where the loss grew before, go back further, with a smaller --adam-alpha or --adam-gclip 1";
    }
    fail(
        "iteration {}: the loss is {} and its gradient's norm {} in {} (in file order): the step is not "
        "applied; {}{}",
        record.iter, std::abs(record.loss), std::abs(record.grad_norm), samples.blame(), last_good(), advice);
  }

  void adam_update(const IterationRecord& record) {
    LoraParameters& p = setup_.parameters;
    AdamWStep step;
    step.lr = record.lr;
    step.beta1 = options_.adam_beta1;
    step.beta2 = options_.adam_beta2;
    step.eps = options_.adam_eps;
    step.decay =
        options_.adam_decay_min_ndim <= 2 ? std::max(0.0, options_.adam_decay) : 0;  // A and B are matrices
    step.t = record.iter;
    if (options_.adam_gclip > 0 && record.grad_norm > options_.adam_gclip) {
      step.gradient_scale = float(options_.adam_gclip / record.grad_norm);
    }
    const auto update = [&](int64_t begin, int64_t n) {
      adamw_update(&p.values[begin], &p.m[begin], &p.v[begin], &p.gradients[begin], n, step, setup_.pool);
    };
    if (options_.lora_plus == 1) {
      update(0, p.values.size());
      return;
    }
    for (const auto& pair : p.pairs) {
      step.lr = record.lr;
      update(pair.a, pair.a_size());
      step.lr = record.lr * options_.lora_plus;
      update(pair.b, pair.b_size());
    }
  }

  // nullopt if it was dropped since the run was asked to stop; the run that is resumed begins with it.
  std::optional<Evaluated> evaluate(Pipeline& pipeline) {
    const Clock::time_point start = Clock::now();
    setup_.norms.apply();
    state_.evaluation_due = true;
    const auto tell = [&](int64_t n_done) {
      if (events_.on_evaluation) events_.on_evaluation(n_done, int64_t(setup_.held_out.size()));
    };
    tell(0);
    try {
      const HeldOutLoss loss = held_out_loss(
          pipeline, setup_.held_out_data(), setup_.held_out, options_.n_batch, options_.n_ctx,
          [&](const HeldOutLoss&, int64_t n_done) {
            tell(n_done);
            return true;
          },
          grid_);
      std::optional<std::string> text = "";
      if (!setup_.sample_prompt.empty() && cluster_.is_first())
        text = continue_sample(setup_, [this] { return stop_asked(); });
      if (cluster_.any(!text)) return std::nullopt;
      state_.evaluation_due = false;
      remaining_.add_evaluation(seconds_since(start));
      if (!std::isfinite(loss.loss)) {
        say(fmt::format(
            "warning: iteration {}: the held-out loss is {} in sample {} of {}: it counts as no best",
            state_.iteration, loss.loss, loss.bad + 1,
            setup_.val_data ? "--val-data" : "the data (in file order)"));
      }
      return Evaluated{loss, *std::move(text)};
    } catch (const GivenUp&) {
      return std::nullopt;
    }
  }

  // The prompt as text. What an earlier one was continued with is no answer to it.
  void take_prompt() {
    const std::vector<Token>& tokens = setup_.sample_prompt;
    const bool has_bos = !tokens.empty() && tokens.front() == setup_.tokenizer.bos();
    result_.sample_prompt = setup_.tokenizer.decode({tokens.begin() + has_bos, tokens.end()}, true);
    Evaluations& e = state_.evaluations;
    if (e.sample_prompt == result_.sample_prompt) return;
    e.sample_prompt = result_.sample_prompt;
    e.sample_before = e.sample_best = "";
  }

  void say_sample(const std::string& when, const std::string& text) const {
    if (!text.empty()) say(fmt::format("sample, {}: {}", when, quoted(text)));
  }

  // Before the first iteration, or where a run was stopped while it evaluated. False if it was dropped.
  bool evaluate_at_start(Pipeline& pipeline) {
    const std::optional<Evaluated> evaluated = evaluate(pipeline);
    if (!evaluated) return false;
    const HeldOutLoss& held_out = evaluated->held_out;
    const std::string when =
        state_.iteration == 0 ? "before training" : fmt::format("iteration {}", state_.iteration);
    say(fmt::format("held out, {}: loss {:.6f}, perplexity {:.4f} over {} tokens", when, held_out.loss,
                    elementary::exp(held_out.loss), held_out.tokens));
    if (state_.iteration > 0) {
      keep_best(*evaluated);
      if (metrics_.is_open()) {
        metrics_ = {};  // not every file system of Windows replaces what is open
        metrics_ = open_metrics_with(options_.metrics, state_.iteration, held_out.loss);
      }
      return true;
    }
    if (std::isfinite(held_out.loss)) state_.evaluations.before = held_out.loss;
    state_.evaluations.sample_before = evaluated->sample;
    if (!setup_.sample_prompt.empty()) say(fmt::format("sample prompt: {}", quoted(result_.sample_prompt)));
    say_sample(when, evaluated->sample);
    return true;
  }

  void keep_best(const Evaluated& evaluated) {
    Evaluations& e = state_.evaluations;
    const double loss = evaluated.held_out.loss;
    say_sample(fmt::format("iteration {}", state_.iteration), evaluated.sample);
    if (std::isfinite(loss)) {
      e.last = loss;
      e.last_iteration = state_.iteration;
    }
    if (!std::isfinite(loss) || (e.best && loss >= *e.best)) {
      ++e.n_no_better;
      return;
    }
    e.best = loss;
    e.best_iteration = state_.iteration;
    e.sample_best = evaluated.sample;
    e.n_no_better = 0;
    if (!options_.save_best) return;
    try {
      save_best(setup_);
    } catch (const Error& error) {
      say(fmt::format("warning: the best adapter is not saved: {}", error.what()));
    }
  }

  // The record's last facts, and everybody who wants it.
  void finish(IterationRecord& record) {
    const auto left = [&](int64_t every) {
      return multiples_left(state_.iteration, setup_.n_iter - 1, every) + (state_.iteration < setup_.n_iter);
    };
    record.eta_s = remaining_.seconds(setup_.n_iter - state_.iteration, left(options_.save_every),
                                      setup_.held_out.empty() ? 0 : left(options_.eval_every));
    if (metrics_.is_open()) {
      try {
        metrics_.write_line(to_json(record, metrics_.is_empty() ? run_id(setup_.settings) : ""));
        metrics_written_ = true;
      } catch (const Error& e) {
        if (!metrics_written_) {  // a place where nothing can be written is a mistake in the command
          take_back_beginning();
          throw;
        }
        if (!metrics_failed_) say(fmt::format("warning: {}: lines will be missing", e.what()));
        metrics_failed_ = true;
      }
    }
    if (events_.on_iteration) events_.on_iteration(record, setup_.n_iter);
  }

  void warn_of_divergence(const IterationRecord& record) {
    const std::optional<Divergence> sign = divergence_.add(record);
    if (!sign) return;
    say(fmt::format("warning: iteration {}: the run diverges: {}; what helps: {}; {}", record.iter,
                    sign->what, ways_out_of_divergence(options_, setup_.n_iter),
                    saved_before(sign->last_good)));
  }

  // What there is to go back to.
  std::string saved_before(int64_t iteration) const {
    std::string saved = "nothing from before it is saved to go on from (--checkpoint-in '' begins anew)";
    const int64_t every = options_.save_every;
    for (int64_t it = every > 0 ? iteration / every * every : 0; it > 0; it -= every) {
      const std::vector<std::string> paths = output_paths(options_, options_.checkpoint_out, it);
      if (paths.size() < 2 || !file_exists(paths.front())) continue;  // one name: it is of a later iteration
      saved = fmt::format("--checkpoint-in {} goes on from before it", paths.front());
      break;
    }
    if (options_.save_best && state_.evaluations.best && file_exists(best_path(options_)))
      saved += fmt::format("; the best adapter is {}", best_path(options_));
    return saved;
  }

  std::string last_good() const {
    return last_good_.empty() ? "no checkpoint was written"
                              : fmt::format("the last good checkpoint is {}", last_good_);
  }

  // What could not be written; empty: nothing.
  std::string save_all() {
    const Clock::time_point start = Clock::now();
    metrics_.sync();  // no line of it may be younger on the disk than the checkpoint
    Saved saved = save(setup_);
    if (!saved.error.empty() && !saved.lora_path.empty()) {
      saved.error += fmt::format("; the adapter is saved as {}", saved.lora_path);
    }
    if (!saved.checkpoint_path.empty()) result_.checkpoint_path = last_good_ = saved.checkpoint_path;
    if (!saved.lora_path.empty()) result_.lora_path = saved.lora_path;
    if (saved.error.empty()) {
      for (const std::string& path : remove_older(setup_))
        say(fmt::format("warning: --keep: {}: cannot be removed", path));
    }
    remaining_.add_save(seconds_since(start));
    return saved.error;
  }

  // Of the run before, which may have been killed in it.
  void finish_save() {
    if (state_.iteration == 0) return;
    try {
      for (const std::string& path : write_missing_adapters(setup_)) {
        say(fmt::format("{}: written from {}, it was missing", path, setup_.resume.path));
      }
    } catch (const Error& e) {
      say(fmt::format("warning: the adapter of iteration {} is not written: {}", state_.iteration, e.what()));
    }
  }

  void save_on_the_way() {
    const std::string error = save_all();
    if (error.empty()) return;
    const int64_t next = std::min(state_.iteration + options_.save_every, setup_.n_iter);
    say(
        fmt::format("warning: iteration {} is not saved whole: {}; {}; training goes on, the next save is at "
                    "iteration {}",
                    state_.iteration, error, last_good(), next));
  }

  void save_at_the_end() {
    const std::string error = save_all();
    if (!error.empty()) fail("iteration {} is not saved whole: {}; {}", state_.iteration, error, last_good());
  }

  const FinetuneOptions& options_;
  const FinetuneEvents& events_;
  const Cluster& cluster_ = options_.cluster;
  const Grid grid_;
  const std::vector<Hold> holds_;  // before anything is read
  Setup setup_;
  TrainState& state_ = setup_.state;
  RemainingTime remaining_;
  DivergenceWatch divergence_;
  AppendFile metrics_;
  bool metrics_written_ = false, metrics_failed_ = false;
  int slow_ = -1, n_slow_ = 0, said_slow_ = -1;  // processes; for how many iterations
  FinetuneResult result_;
  std::string last_good_;  // checkpoint
  std::string begun_;      // the checkpoint of the beginning, if its name was free
};

// For a process that neither writes nor speaks.
void silence(FinetuneOptions& options) {
  options.lora_out = options.checkpoint_out = options.metrics = options.best_out = "";
  options.checkpoint_in = "";
  options.save_best = false;
}

}  // namespace

FinetuneResult finetune(const FinetuneOptions& options, const FinetuneEvents& events) {
  check_options(options);
  if (options.only_write_lora) {
    FinetuneResult result;
    if (!options.cluster.is_first()) return result;
    const std::string checkpoint = find_checkpoint(options).path;
    result.lora_path = write_adapter_of_checkpoint(options, checkpoint, result.iterations, events.say);
    result.why = fmt::format("--only-write-lora: {} was read, nothing was trained", checkpoint);
    return result;
  }
  const StaysAwake until_it_ends;
  FinetuneOptions here = with_data_files(options, events.say);
  if (!here.cluster.is_first()) silence(here);
  return Run(here, events).train();
}

}  // namespace lora
