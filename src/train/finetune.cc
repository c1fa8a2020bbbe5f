#include "train/finetune.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <numeric>
#include <tuple>

#include "base/error.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/random.h"
#include "kernels/isa.h"
#include "kernels/optimizer/adamw.h"
#include "train/outputs.h"
#include "train/run.h"
#include "train/schedule.h"

namespace lora {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double mib(int64_t bytes) {
  return double(bytes) / (1 << 20);
}

// One line of the metrics file; floats with nine significant digits, which is every bit of an f32.
std::string to_json(const IterationRecord& r) {
  return fmt::format(
      R"({{"iter":{},"epoch":{:.9g},"sample":{},"loss":{:.9g},"lr":{:.9g},"sched":{:.9g},"grad_norm":{:.9g},)"
      R"("tokens":{},"dt_s":{:.9g},"tok_per_s":{:.9g},"eta_s":{:.9g},"rss_bytes":{}}})",
      r.iter, r.epoch, r.sample, r.loss, r.lr, r.sched, r.grad_norm, r.tokens, r.dt_s, r.tok_per_s, r.eta_s,
      r.rss_bytes);
}

// Everything a run holds, built once and in this order.
class Run {
 public:
  Run(const FinetuneOptions& options, const FinetuneEvents& events)
      : options_(options),
        events_(events),
        pool_(options.threads > 0 ? options.threads : physical_cores()),
        input_(gemm_input(options.precision)),
        resume_(!options.checkpoint_in.empty() && file_exists(options.checkpoint_in)),
        model_(load_model(options.model_base,
                          {options.rope_freq_base, options.rope_freq_scale, options.norm_rms_eps})),
        tokenizer_(model_.gguf),
        data_(options.train_data, tokenizer_, text_options(options), pool_) {
    state_.seed = resume_ && options.seed < 0 ? read_checkpoint_seed(options.checkpoint_in)
                  : options.seed < 0          ? entropy_seed()
                                              : uint64_t(options.seed);
    std::optional<Adapter> init;
    if (!options.lora_init.empty()) {
      init = read_adapter(options.lora_init, model_.gguf);
      take_rotary_settings(*init);
    }
    parameters_ = initial_parameters(options, model_, state_.seed, init);
    attach(model_, parameters_);
    settings_ = run_settings(options, model_, parameters_);
    settings_.emplace_back("--seed", std::to_string(state_.seed));
    if (resume_) state_ = read_checkpoint(options.checkpoint_in, parameters_, settings_);
    batch_options_ = {options.n_ctx,       options.n_batch,    options.shuffle,
                      fills_rows(options), options.plain_fill, state_.seed};
    n_iter_ = iteration_count(options, data_.n_samples());
  }

  FinetuneResult train() {
    check_outputs(options_, std::max(n_iter_, state_.iteration));
    report_inputs();
    FinetuneResult result;
    result.iterations = state_.iteration;
    if (state_.iteration >= n_iter_) {
      save(result);
      result.why = fmt::format("iteration {} of {} was reached already", state_.iteration, n_iter_);
      return result;
    }
    const StepPlan plan = make_plan(options_, model_, data_, parameters_, input_, pool_.size());
    report_plan(plan);
    Step step(model_, plan, input_, pool_);
    AppendFile metrics;
    if (!options_.metrics.empty()) metrics = open_metrics();
    result.why = fmt::format("iteration {} was reached", n_iter_);
    const Clock::time_point start = Clock::now();
    const int64_t first = state_.iteration;
    while (state_.iteration < n_iter_) {
      IterationRecord record = iterate(step);
      record.eta_s =
          seconds_since(start) / double(state_.iteration - first) * double(n_iter_ - state_.iteration);
      if (metrics.is_open()) metrics.write_line(to_json(record));
      if (events_.on_iteration) events_.on_iteration(record, n_iter_);
      result.iterations = state_.iteration;
      result.stopped = events_.should_stop && events_.should_stop();
      if (result.stopped) {
        result.why = "it was asked to stop";
        break;
      }
      if (options_.save_every > 0 && state_.iteration % options_.save_every == 0 &&
          state_.iteration < n_iter_) {
        save(result);
      }
    }
    save(result);
    return result;
  }

 private:
  // An adapter goes on being trained with the rotary settings it has.
  void take_rotary_settings(const Adapter& init) {
    RopeParameters& rope = model_.config.rope;
    if (!options_.rope_freq_base && init.rope_freq_base) rope.freq_base = double(*init.rope_freq_base);
    if (!options_.rope_freq_scale && init.rope_freq_scale) rope.freq_scale = double(*init.rope_freq_scale);
  }

  void say(const std::string& line) const {
    if (events_.say) events_.say(line);
  }

  void report_inputs() const {
    if (!options_.checkpoint_in.empty()) {
      say(resume_ ? fmt::format("resume: {} at iteration {}", options_.checkpoint_in, state_.iteration)
                  : fmt::format("resume: no file {}, training starts from scratch", options_.checkpoint_in));
    }
    const DatasetReport& d = data_.report();
    say(fmt::format("data: {} samples, {} tokens; {} cut at {} tokens ({} tokens lost), {} blank skipped{}",
                    d.n_samples, d.n_tokens, d.n_cut, options_.n_ctx, d.n_lost, d.n_blank,
                    d.n_short ? fmt::format(", {} too short skipped", d.n_short) : ""));
    if (d.n_bad > 0) say(fmt::format("data: {} bad records skipped, the first: {}", d.n_bad, d.first_bad));
    if (d.n_window_files > 0) {
      say(fmt::format(
          "data: without --sample-start a sample of up to {} tokens begins at every token, so one epoch "
          "reads the text about {} times",
          options_.n_ctx, std::min(options_.n_ctx, d.n_tokens)));
    }
    if (options_.warmup > n_iter_) {
      say(fmt::format(
          "warning: --warmup {} is longer than the run of {} iterations, so the learning rate never "
          "reaches --adam-alpha",
          options_.warmup, n_iter_));
    }
    if (d.n_uncut_files > 0 && d.n_uncut_files + d.n_record_files == int64_t(options_.train_data.size())) {
      say(fmt::format("warning: --sample-start '{}' does not occur in the text, so each file is one sample{}",
                      options_.sample_start,
                      !options_.escape && options_.sample_start.find('\\') != std::string::npos
                          ? " (--escape reads \\n as a line's end)"
                          : ""));
    }
    if (d.special_spelling >= 0) {
      say(fmt::format(
          "warning: the text holds {}, read as plain text (--parse-special reads it as a special token)",
          tokenizer_.piece(d.special_spelling)));
    }
    if (options_.n_ctx > model_.config.n_ctx_train) {
      say(fmt::format("warning: --ctx {} is beyond the {} tokens the model was trained with", options_.n_ctx,
                      model_.config.n_ctx_train));
    }
    const ModelConfig own = read_config(model_.gguf);
    for (const auto& [flag, used, models] :
         {std::tuple{"--rope-freq-base", model_.config.rope.freq_base, own.rope.freq_base},
          std::tuple{"--rope-freq-scale", model_.config.rope.freq_scale, own.rope.freq_scale},
          std::tuple{"--norm-rms-eps", double(model_.config.rms_norm_eps), double(own.rms_norm_eps)}}) {
      if (used != models) say(fmt::format("{}: {} is used, the model's own is {}", flag, used, models));
    }
    say(fmt::format("lora: {} tensors, {} parameters, alpha {}; seed {}", 2 * parameters_.pairs.size(),
                    parameters_.n_values(), parameters_.alpha, state_.seed));
    say(fmt::format("compute: {} kernels, {} inputs, {} threads; {} iterations of {} samples", name(isa()),
                    input_ == GemmInput::bf16 ? "bf16" : "f32", pool_.size(), n_iter_,
                    options_.n_batch * options_.grad_acc));
  }

  // A fresh run empties the file; a resumed one keeps what was written up to its iteration.
  AppendFile open_metrics() const {
    return {options_.metrics, [&](std::string_view line) {
              constexpr std::string_view kStart = R"({"iter":)";
              int64_t iter = 0;
              if (!resume_ || !line.starts_with(kStart)) return false;
              std::from_chars(line.data() + kStart.size(), line.data() + line.size(), iter);
              return 1 <= iter && iter <= state_.iteration;
            }};
  }

  void report_plan(const StepPlan& plan) const {
    say(fmt::format(
        "memory: {:.1f} MiB beyond the model's file ({:.1f} MiB, mapped): adapter and optimizer {:.1f}, "
        "samples {:.1f}, layers' inputs {:.1f}, activations {:.1f} ({} of {} layers kept), workspace "
        "{:.1f}, other {:.1f}",
        mib(plan.total_bytes() + parameters_.memory_bytes() + data_.memory_bytes()),
        mib(int64_t(model_.gguf.file_bytes())), mib(parameters_.memory_bytes()), mib(data_.memory_bytes()),
        mib(plan.input_bytes), mib(plan.activation_bytes), plan.n_kept, model_.config.n_layer,
        mib(plan.workspace_bytes), mib(plan.other_bytes)));
  }

  IterationRecord iterate(Step& step) {
    const Clock::time_point start = Clock::now();
    IterationRecord record;
    // Counted first: each token's share of the loss depends on how many targets there are in all.
    const auto for_each_batch = [&](const auto& body) {
      uint64_t cursor = state_.cursor;
      for (int64_t i = 0; i < options_.grad_acc; ++i) {
        cursor = next_batch(batch_, data_, batch_options_, cursor);
        body();
      }
      return cursor;
    };
    for_each_batch([&] { record.tokens += batch_.n_targets; });
    std::fill_n(parameters_.gradients.data(), parameters_.gradients.size(), 0.0f);
    double loss = 0;
    const uint64_t cursor =
        for_each_batch([&] { loss += add_gradients(step, batch_, 1.0f / float(record.tokens)); });
    record.loss = loss / double(record.tokens);
    record.grad_norm =
        std::sqrt(sum_of_squares(parameters_.gradients.data(), parameters_.gradients.size(), pool_));
    if (!std::isfinite(record.loss) || !std::isfinite(record.grad_norm)) {
      fail(
          "iteration {}: loss {} with gradient norm {} in samples {} to {} of the run: not applied; what was "
          "saved "
          "before stays",
          state_.iteration + 1, record.loss, record.grad_norm, state_.cursor, cursor - 1);
    }
    state_.cursor = cursor;
    record.iter = ++state_.iteration;
    record.sched = schedule(record.iter, options_);
    record.lr = record.sched * options_.adam_alpha;
    update(record);
    record.sample = cursor;
    record.epoch = double(cursor) / double(data_.n_samples());
    record.dt_s = seconds_since(start);
    record.tok_per_s = double(record.tokens) / record.dt_s;
    record.rss_bytes = resident_bytes();
    return record;
  }

  double add_gradients(Step& step, const Batch& batch, float scale) {
    segments_.clear();
    for (const BatchSegment& s : batch.segments) segments_.push_back({s.begin, s.length, s.begin, s.length});
    losses_.resize(batch.inputs.size());
    step.losses_and_gradients(losses_.data(), {batch.inputs, batch.targets, batch.positions, segments_},
                              scale);
    return std::accumulate(losses_.begin(), losses_.end(), 0.0);
  }

  void update(const IterationRecord& record) {
    AdamWStep step;
    step.lr = record.lr;
    step.beta1 = options_.adam_beta1;
    step.beta2 = options_.adam_beta2;
    step.eps = options_.adam_eps;
    step.decay = options_.adam_decay_min_ndim <= 2 ? options_.adam_decay : 0;  // A and B are matrices
    step.t = record.iter;
    if (options_.adam_gclip > 0 && record.grad_norm > options_.adam_gclip) {
      step.gradient_scale = float(options_.adam_gclip / record.grad_norm);
    }
    adamw_update(parameters_.values.data(), parameters_.m.data(), parameters_.v.data(),
                 parameters_.gradients.data(), parameters_.values.size(), step, pool_);
  }

  // Writes under both names of a pattern, and returns the last one written.
  template <class Write>
  std::string write_both(const std::string& pattern, const Write& write) const {
    const std::vector<std::string> paths = output_paths(options_, pattern, state_.iteration);
    for (const std::string& path : paths) write(path);
    return paths.empty() ? "" : paths.back();
  }

  void save(FinetuneResult& result) {
    if (!std::isfinite(sum_of_squares(parameters_.values.data(), parameters_.values.size(), pool_))) {
      fail(
          "iteration {}: the adapter is no longer finite, a lower --adam-alpha may help; what was saved "
          "before stays",
          state_.iteration);
    }
    result.lora_path = write_both(options_.lora_out, [&](const std::string& path) {
      Adapter adapter = to_adapter(parameters_, model_);
      const RopeParameters &used = model_.config.rope, own = read_config(model_.gguf).rope;
      if (used.freq_base != own.freq_base) adapter.rope_freq_base = float(used.freq_base);
      if (used.freq_scale != own.freq_scale) adapter.rope_freq_scale = float(used.freq_scale);
      adapter.facts = {{"seed", std::to_string(state_.seed)},
                       {"iteration", std::to_string(state_.iteration)},
                       {"context_length", std::to_string(options_.n_ctx)}};
      write_adapter_gguf(adapter, path);
    });
    result.checkpoint_path = write_both(options_.checkpoint_out, [&](const std::string& path) {
      write_checkpoint(path, parameters_, state_, settings_, model_);
    });
  }

  const FinetuneOptions& options_;
  const FinetuneEvents& events_;
  ThreadPool pool_;
  GemmInput input_;
  bool resume_;
  Model model_;
  Tokenizer tokenizer_;
  Dataset data_;
  TrainState state_;
  LoraParameters parameters_;
  Settings settings_;
  BatchOptions batch_options_;
  int64_t n_iter_ = 0;
  Batch batch_;
  std::vector<AttentionSegment> segments_;
  std::vector<double> losses_;
};

}  // namespace

FinetuneResult finetune(const FinetuneOptions& options, const FinetuneEvents& events) {
  return Run(options, events).train();
}

}  // namespace lora
