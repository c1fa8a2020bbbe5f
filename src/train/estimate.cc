#include "train/estimate.h"

#include <algorithm>
#include <cmath>

#include "base/file_status.h"
#include "base/machine.h"
#include "base/path.h"
#include "base/size_text.h"
#include "base/timing.h"
#include "kernels/optimizer/adamw.h"
#include "train/lbfgs.h"
#include "train/metrics.h"
#include "train/outputs.h"

namespace lora {
namespace {

// Medians of each work's time, measured in turn so that a machine that slows down slows all of them.
std::vector<double> medians(const std::vector<std::function<void()>>& works) {
  constexpr int kLeast = 5, kMost = 51;
  constexpr double kEnough = 2;  // seconds
  std::vector<std::vector<double>> times(works.size());
  for (const auto& work : works) work();  // reads the weights from disk, touches the memory
  double sum = 0;
  for (int round = 0; round < kMost && (round < kLeast || sum < kEnough); ++round) {
    for (size_t i = 0; i < works.size(); ++i) sum += times[i].emplace_back(seconds(works[i]));
    if (round >= 1 && sum > 30 * kEnough) break;  // large models: two rounds are enough
  }
  std::vector<double> result;
  for (std::vector<double>& t : times) {
    std::ranges::sort(t);
    result.push_back(t[t.size() / 2]);
  }
  return result;
}

// Of the run's first batches the one whose number of tokens is nearest to the mean.
Batch typical_batch(const Setup& s, double tokens) {
  Batch best, batch;
  uint64_t cursor = s.state.cursor - s.state.shuffle_begin;
  for (int i = 0; i < 64; ++i) {
    cursor = next_batch(batch, s.data, s.batch_options, cursor);
    const auto distance = [&](const Batch& b) { return std::abs(double(b.n_tokens()) - tokens); };
    if (i == 0 || distance(batch) < distance(best)) best = batch;
  }
  return best;
}

// Seconds of some layers of the model on a batch.
struct LayerTimes {
  double head = 0, head_forward = 0;    // embedding, output matrix and loss: both passes; forward alone
  double layer = 0, layer_forward = 0;  // of each layer
};

// One layer, and some more, so that the difference is what a layer takes: of those that the backward pass
// goes through or, where that is one or none, of the last ones.
struct MeasuredSteps {
  bool keeps = true;  // activations; else those of all layers but the last are computed again
  StepPlan one{}, more{};

  int64_t bytes() const { return one.total_bytes() + more.total_bytes(); }
};

// The ones that tell most within the memory that the run itself will take; else the ones that take least.
MeasuredSteps steps_to_measure(const Setup& s, const Batch& batch) {
  const int64_t n_layer = s.model.config.n_layer, n_backward = s.plan.n_backward();
  const bool is_at_end = n_backward < 2;
  const int64_t most = std::min<int64_t>(is_at_end ? n_layer : n_backward, 4);
  MeasuredSteps steps;
  for (const bool keeps : {true, false}) {
    for (int64_t n = most; n >= std::min<int64_t>(most, 2); --n) {
      const auto plan = [&](int64_t n_layers) {
        const LayerRange layers{is_at_end ? n_layer - n_layers : s.plan.n_below, n_layers};
        return plan_step(s.model, batch.n_tokens(), s.plan.n_positions, keeps ? n_layers : 0, true, s.input,
                         s.pool.size(), layers);
      };
      steps = {keeps || is_at_end, plan(1), plan(n)};
      if (steps.bytes() <= s.plan.total_bytes()) return steps;
    }
  }
  return steps;
}

LayerTimes time_layers(Setup& s, const Batch& batch, const MeasuredSteps& steps) {
  std::vector<AttentionSegment> segments;
  for (const BatchSegment& b : batch.segments) segments.push_back({b.begin, b.length, b.begin, b.length});
  const StepTokens tokens{batch.inputs, batch.targets, batch.positions, segments};
  std::vector<double> losses(batch.inputs.size());
  Step one(s.model, steps.one, s.input, s.pool), more(s.model, steps.more, s.input, s.pool);
  const auto both = [&](Step& step) {
    return [&] { step.losses_and_gradients(losses.data(), tokens, 1e-6f, 1); };
  };
  const auto forward = [&](Step& step) { return [&] { step.losses(losses.data(), tokens); }; };
  const std::vector<double> t = medians({both(one), both(more), forward(one), forward(more)});
  LayerTimes times;
  const double between = double(std::max<int64_t>(steps.more.layers.n - 1, 1));
  times.layer_forward = std::max(0.0, (t[3] - t[2]) / between);
  times.layer = std::max(0.0, (t[1] - t[0]) / between - (steps.keeps ? 0 : times.layer_forward));
  times.head = std::max(0.0, t[0] - times.layer);
  times.head_forward = std::max(0.0, t[2] - times.layer_forward);
  return times;
}

// What an iteration does with the parameters themselves, on a part of them; nobody needs them any more.
double update_seconds(Setup& s) {
  LoraParameters& p = s.parameters;
  const int64_t n = std::min<int64_t>(p.values.size(), int64_t{1} << 22);
  const double t = medians({[&] {
    std::fill_n(p.gradients.data(), n, 0.0f);
    sum_of_squares(p.gradients.data(), n, s.pool);
    adamw_update(p.values.data(), p.m.data(), p.v.data(), p.gradients.data(), n, {}, s.pool);
  }})[0];
  return t * double(p.values.size()) / double(n);
}

// Names and shapes of tensors, and what fills them up, beside the numbers.
int64_t gguf_bytes(int64_t n_tensors, int64_t n_values) {
  constexpr int64_t kMetadata = 2048, kTensor = 100;
  return kMetadata + n_tensors * kTensor + n_values * int64_t(sizeof(float));
}

// What the saves to come leave, --keep honoured.
std::vector<OutputFiles> output_files(const Setup& s) {
  const FinetuneOptions& o = s.options;
  int64_t n_pairs = 0, n_values = 0, n_lora_pairs = 0, n_lora_values = 0;  // with and without norms
  for (const auto& pair : s.parameters.pairs) {
    const int64_t n = pair.a_size() + pair.b_size();
    ++n_pairs, n_values += n;
    if (!pair.is_norm()) ++n_lora_pairs, n_lora_values += n;
  }
  const bool adam = o.optimizer == Optimizer::adam;
  const int64_t n_copies = adam ? 3 : 1 + 2 * kLbfgsPairs, n_tensors = (adam ? 6 : 2) * n_pairs;
  const int64_t n_saves = multiples_left(s.state.iteration, s.n_iter - 1, o.save_every) + 1;  // the last one
  std::vector<OutputFiles> files;
  const auto add = [&](const char* kind, const std::string& name, int64_t n_more, int64_t bytes) {
    const auto n_names = int64_t(output_paths(o, name, 1).size());
    const int64_t n_numbered = o.keep > 0 && has_number(o, name) ? std::min(o.keep, n_saves) : n_saves;
    const int64_t n = (n_names > 1 ? n_numbered + 1 : n_names) + n_more;
    if (n > 0) files.push_back({kind, n, bytes});
  };
  add("checkpoints", o.checkpoint_out, 0, gguf_bytes(n_tensors, n_copies * n_values));
  add("adapters", o.lora_out, o.save_best ? 1 : 0, gguf_bytes(2 * n_lora_pairs, n_lora_values));
  return files;
}

// Of the folders that the run writes to, the one with less.
std::optional<uint64_t> free_disk(const FinetuneOptions& o) {
  std::optional<uint64_t> least;
  for (const std::string& name : {o.checkpoint_out, o.lora_out, o.save_best ? best_path(o) : std::string()}) {
    if (name.empty()) continue;
    const auto bytes = free_disk_bytes(folder_of(name));
    if (bytes) least = std::min(*bytes, least.value_or(*bytes));
  }
  return least;
}

}  // namespace

Estimate estimate(const FinetuneOptions& options, const std::function<void(std::string_view line)>& say) {
  check_options(options);
  const FinetuneOptions with_files = with_data_files(options, say);
  Setup s(with_files, say);
  for (const std::string& line : describe(s)) say(line);
  s.plan_memory();
  Estimate e;
  e.memory = s.memory_parts();
  e.memory_bytes = s.memory_bytes();
  e.model_bytes = int64_t(s.model.gguf.file_bytes());
  e.free_bytes = available_memory();
  e.files = output_files(s);
  int64_t largest = 0;  // each is whole beside the one that it replaces
  for (const OutputFiles& files : e.files) {
    e.disk_bytes += files.n * files.bytes;
    largest = std::max(largest, files.bytes);
  }
  e.free_disk = free_disk(options);
  if (e.free_disk && uint64_t(e.disk_bytes + largest) > *e.free_disk) {
    say(fmt::format(
        "warning: checkpoints and adapters take {} of disk, {} are free there; --keep N or a larger "
        "--save-every need less",
        format_size(uint64_t(e.disk_bytes + largest)), format_size(*e.free_disk)));
  }
  e.n_iter = std::max<int64_t>(0, s.n_iter - s.state.iteration);
  if (e.n_iter == 0) return e;

  const double batch_tokens = s.mean_tokens() / double(options.grad_acc);
  const Batch batch = typical_batch(s, batch_tokens);
  const MeasuredSteps steps = steps_to_measure(s, batch);
  if (const int64_t more = steps.bytes() - s.plan.total_bytes(); more > 0)
    say(fmt::format("estimate: to measure takes {:.1f} MiB more than the run itself",
                    double(more) / (1 << 20)));
  const LayerTimes t = time_layers(s, batch, steps);
  const int64_t n_layer = s.model.config.n_layer;
  // The last layer's activations are still there when the backward pass begins.
  const int64_t n_again = s.plan.n_kept < s.plan.n_backward() ? s.plan.n_backward() - s.plan.n_kept - 1 : 0;
  const int64_t n_both = std::max<int64_t>(s.plan.n_backward(), 1);  // the last one was measured as it is
  const double forward = t.head_forward + double(n_layer) * t.layer_forward;
  const double gradients =
      (t.head + double(n_both) * t.layer + double(n_layer - n_both + n_again) * t.layer_forward) *
      batch_tokens / double(batch.n_tokens()) * double(options.grad_acc);
  e.at_least = options.optimizer == Optimizer::lbfgs;
  e.iteration_s = (e.at_least ? 2 : 1) * gradients + update_seconds(s);
  if (!s.held_out.empty()) {
    double tokens = 0;
    std::vector<Token> inputs, targets;
    for (int64_t i : s.held_out) {
      s.held_out_data().sample(i, inputs, targets);
      tokens += double(inputs.size());
    }
    e.evaluation_s = forward * tokens / double(batch.n_tokens());
    const int64_t every = options.eval_every;
    const int64_t on_the_way = every > 0 ? (s.n_iter - 1) / every - s.state.iteration / every : 0;
    e.n_evaluations = on_the_way + (s.resumed ? 1 : 2);  // the last, and the one before training
  }
  e.total_s = double(e.n_iter) * e.iteration_s + double(e.n_evaluations) * e.evaluation_s;
  return e;
}

}  // namespace lora
