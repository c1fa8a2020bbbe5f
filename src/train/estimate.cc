#include "train/estimate.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <numeric>

#include "base/file.h"
#include "base/file_status.h"
#include "base/machine.h"
#include "base/path.h"
#include "base/size_text.h"
#include "base/timing.h"
#include "kernels/optimizer/adamw.h"
#include "train/lbfgs.h"
#include "train/metrics.h"
#include "train/outputs.h"
#include "train/pipeline_batch.h"

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

// Seconds of the model's parts on a batch.
struct LayerTimes {
  double head = 0, head_forward = 0;    // embedding, output matrix and loss: both passes; forward alone
  std::vector<double> layers, forward;  // of each layer: as far as the backward pass goes; forward alone
};

// Steps over one layer of each kind, and over some in a row: what several have in common is what takes time
// beside layers.
struct MeasuredSteps {
  bool keeps = true;             // activations; else those of all layers but the last are computed again
  std::vector<int64_t> kinds{};  // of each layer of the model
  std::vector<StepPlan> one{};   // of each kind
  StepPlan more{};

  int64_t bytes() const {
    int64_t sum = more.total_bytes();
    for (const StepPlan& plan : one) sum += plan.total_bytes();
    return sum;
  }
};

// The layer that stands for its kind: one that trains something, if there is one, and is in the row.
int64_t example_of(int64_t kind, const std::vector<int64_t>& kinds, const LayerRange& row,
                   const Model& model) {
  int64_t best = -1, best_rank = -1;
  for (int64_t i = 0; i < int64_t(kinds.size()); ++i) {
    if (kinds[size_t(i)] != kind) continue;
    const bool trains = layers_below(model, {&model.layers[size_t(i)], 1}) == 0;
    const bool is_in_row = i >= row.begin && i < row.begin + row.n;
    const int64_t rank = 2 * trains + is_in_row;
    if (rank > best_rank) best = i, best_rank = rank;
  }
  return best;
}

// The ones that tell most within the memory that the run itself will take; else the ones that take least. The
// row is of those that the backward pass goes through or, where that is one or none, of the last ones.
MeasuredSteps steps_to_measure(const Setup& s, const Batch& batch) {
  const int64_t n_layer = s.model.config.n_layer, n_backward = s.plan.n_backward();
  const bool is_at_end = n_backward < 2;
  // Of a model that memory does not hold, no more layers than it holds at least.
  const int64_t most = std::min<int64_t>(is_at_end ? n_layer : n_backward, s.plan.weight_room ? 2 : 4);
  MeasuredSteps steps;
  steps.kinds = kinds_of_layers(s.model, s.plan.n_below);
  const int64_t n_kinds = std::ranges::max(steps.kinds) + 1;
  for (const bool keeps : {true, false}) {
    for (int64_t n = most; n >= std::min<int64_t>(most, 2); --n) {
      const LayerRange row{is_at_end ? n_layer - n : s.plan.n_below, n};
      const auto plan = [&](const LayerRange& layers) {
        return plan_step(s.model, batch.n_tokens(), s.plan.n_positions, keeps ? layers.n : 0, true,
                         s.arithmetic, s.pool.size(), NetworkPart{layers}, s.plan.head_tokens);
      };
      steps.keeps = keeps || is_at_end;
      steps.more = plan(row);
      steps.one.clear();
      for (int64_t kind = 0; kind < n_kinds; ++kind)
        steps.one.push_back(plan({example_of(kind, steps.kinds, row, s.model), 1}));
      if (steps.bytes() <= s.plan.total_bytes()) return steps;
    }
  }
  return steps;
}

// Of layers in a row, whose times alone are `alone` together, beside what each of these takes as well.
double beside_layers(double alone, double in_a_row, int64_t n) {
  return n > 1 ? std::max(0.0, (alone - in_a_row) / double(n - 1)) : alone;
}

LayerTimes time_layers(Setup& s, Batch batch, const MeasuredSteps& measured) {
  PipelineBatch pipeline_batch;
  put(pipeline_batch, batch);
  const StepTokens tokens = pipeline_batch.tokens();
  std::vector<double> losses(tokens.ids.size());
  std::deque<Step> steps;  // one of each kind, and the row
  for (const StepPlan& plan : measured.one) steps.emplace_back(s.model, plan, s.arithmetic, s.pool);
  steps.emplace_back(s.model, measured.more, s.arithmetic, s.pool);
  std::vector<std::function<void()>> works;
  for (Step& step : steps)
    works.emplace_back([&] { step.losses_and_gradients(losses.data(), tokens, 1e-6f, 1); });
  for (Step& step : steps) works.emplace_back([&] { step.losses(losses.data(), tokens); });
  const std::vector<double> t = medians(works);
  const size_t n_kinds = measured.one.size(), forward = n_kinds + 1;
  const LayerRange& row = measured.more.part.layers;

  LayerTimes times;
  double both_alone = 0, forward_alone = 0;
  for (int64_t i = row.begin; i < row.begin + row.n; ++i) {
    both_alone += t[size_t(measured.kinds[size_t(i)])];
    forward_alone += t[forward + size_t(measured.kinds[size_t(i)])];
  }
  times.head_forward = beside_layers(forward_alone, t[forward + n_kinds], row.n);
  for (const int64_t kind : measured.kinds)
    times.forward.push_back(std::max(0.0, t[forward + size_t(kind)] - times.head_forward));
  for (int64_t i = row.begin; !measured.keeps && i < row.begin + row.n - 1; ++i)
    both_alone += times.forward[size_t(i)];  // computed again
  times.head = beside_layers(both_alone, t[n_kinds], row.n);
  for (const int64_t kind : measured.kinds)
    times.layers.push_back(std::max(0.0, t[size_t(kind)] - times.head));
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

constexpr double kHidden = 0.05;     // of computing: what reading may add where it hardly matters
constexpr double kNoWaiting = 1e30;  // bytes a second, where the disk does not tell

// Of a layer of the part that begins with layer `first`: going up and, if the backward pass goes through it,
// down again.
double both_ways(const LayerTimes& t, const StepPlan& plan, int64_t first, int64_t layer) {
  // The last layer's activations are still there when the backward pass begins.
  const bool again =
      layer >= std::max(plan.n_below, first) + plan.n_kept && layer + 1 < int64_t(t.layers.size());
  return t.layers[size_t(layer)] + (again ? t.forward[size_t(layer)] : 0);
}

// Seconds of a batch's way through one stage of a pipeline.
struct StageTime {
  double both = 0, forward = 0;
};
std::vector<StageTime> stage_times(const LayerTimes& t, const StepPlan& plan,
                                   const std::vector<NetworkPart>& parts, double scale) {
  std::vector<StageTime> times;
  for (const NetworkPart& part : parts) {
    StageTime time = part.has_head ? StageTime{t.head, t.head_forward} : StageTime{};
    for (int64_t i = part.layers.begin; i < part.layers.end(); ++i) {
      time.both += both_ways(t, plan, part.layers.begin, i);
      time.forward += t.forward[size_t(i)];
    }
    times.push_back({time.both * scale, time.forward * scale});
  }
  return times;
}

// The same of each place of a sweep up, and down again.
std::vector<double> sweep_times(const LayerTimes& t, const StepPlan& plan, std::span<const size_t> order,
                                double scale) {
  const size_t n_layer = t.layers.size();
  std::vector<double> times;
  for (size_t at = 0; at < order.size(); ++at) {
    const size_t i = order[at];
    const double up = at < n_layer ? t.forward[i] : t.head;
    const double down = at > n_layer ? std::max(0.0, both_ways(t, plan, 0, int64_t(i)) - t.forward[i]) : 0;
    times.push_back(scale * (at <= n_layer ? up : down));
  }
  return times;
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

// Of the program and its libraries, what a run has brought into memory by holding and looking at its outputs
// (x86-64, glibc).
constexpr int64_t kOutputPages = 384 << 10;

}  // namespace

size_t largest_stage(std::span<const StageMemory> stages) {
  const auto all = [](const StageMemory& s) { return s.memory_bytes + s.weight_bytes; };
  return size_t(std::ranges::max_element(stages, {}, all) - stages.begin());
}

std::vector<int64_t> kinds_of_layers(const Model& model, int64_t n_below) {
  std::map<std::string, int64_t> kinds;
  std::vector<int64_t> result;
  for (const Layer& layer : model.layers) {
    const bool has_backward = int64_t(result.size()) >= n_below;
    std::string kind(1, has_backward ? 'b' : 'f');
    for (const Branch& branch : layer.branches) {
      for (const Body& body : branch.bodies) kind += fmt::format(" {}", body.index());
    }
    for_each_attention(layer, [&](const Attention& a) {
      kind += fmt::format(" {} of {}", a.form.shape.window, a.form.shape.head_dim);
    });
    for_each_linear(layer, [&](const Linear& linear, LinearRole) {
      if (linear.slice == 0) kind += fmt::format(" {}x{}", linear.w.n_rows, linear.w.n_cols);
    });
    result.push_back(kinds.try_emplace(kind, int64_t(kinds.size())).first->second);
  }
  return result;
}

double pipeline_seconds(std::span<const double> stages, double n_batches) {
  return std::accumulate(stages.begin(), stages.end(), 0.0) + (n_batches - 1) * std::ranges::max(stages);
}

Estimate estimate(const FinetuneOptions& options, const std::function<void(std::string_view line)>& say) {
  check_options(options);
  Setup s(with_data_files(options, say), say, kOutputPages + (options.pipeline > 1 ? kTransportBytes : 0));
  for (const std::string& line : describe(s)) say(line);
  Estimate e;
  e.precision = name(s.arithmetic);
  for (int stage = 0; options.pipeline > 1 && stage < options.pipeline; ++stage) {
    s.plan_memory(stage);
    e.stages.push_back({s.plan.part.layers, s.memory_bytes(), int64_t(weight_bytes(s.model, s.plan.part))});
  }
  s.plan_memory(e.stages.empty() ? 0 : int(largest_stage(e.stages)));
  e.memory = s.memory_parts();
  e.memory_bytes = s.memory_bytes();
  e.model_bytes = int64_t(weight_bytes(s.model, s.plan.part));
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

  // The time is that of all layers, wherever they are.
  if (!s.plan.part.is_whole()) {
    if (s.plan.weight_room)
      say("estimate: the time in which weights are read that memory does not hold is not counted");
    s.plan = plan_step(s.model, s.plan.n_tokens, s.plan.n_positions, s.plan.n_kept, true, s.arithmetic,
                       s.pool.size(), {}, s.plan.head_tokens);
  }
  const double batch_tokens = s.mean_tokens() / double(options.grad_acc);
  const Batch batch = typical_batch(s, batch_tokens);
  const MeasuredSteps steps = steps_to_measure(s, batch);
  if (const int64_t more = steps.bytes() - s.plan.total_bytes(); more > 0)
    say(fmt::format("estimate: to measure takes {:.1f} MiB more than the run itself",
                    double(more) / (1 << 20)));
  const LayerTimes t = time_layers(s, batch, steps);
  const double scale = batch_tokens / double(batch.n_tokens());
  const std::vector<StageTime> stages =
      stage_times(t, s.plan, network_parts(s.model, options.pipeline), scale);
  e.at_least = options.optimizer == Optimizer::lbfgs;
  const int64_t n_batches = (e.at_least ? 2 : 1) * options.grad_acc;
  std::vector<double> both, forward;
  for (const StageTime& stage : stages) both.push_back(stage.both), forward.push_back(stage.forward);
  e.iteration_s = (e.at_least ? 2 : 1) * pipeline_seconds(both, double(options.grad_acc)) + update_seconds(s);
  if (s.plan.weight_room) {
    const std::vector<StageWeights> weights = stage_weights(s.model, s.model.layers);
    std::vector<size_t> order = sweep_order(weights.size(), size_t(s.plan.n_below), Sweep::up_and_down);
    std::vector<double> times = sweep_times(t, s.plan, order, scale);
    SweepWork work = {piece_bytes(weights, batch_tokens), *s.plan.weight_room, std::move(order),
                      std::move(times)};
    WeightReading& r = e.reading.emplace();
    r.weight_bytes = int64_t(weight_bytes(weights));
    r.held_bytes = std::min(r.weight_bytes, int64_t(*s.plan.weight_room));
    r.rate = disk_read_rate(s.model.gguf.path());
    const SweepCost cost = sweep_cost(work, r.rate.value_or(kNoWaiting));
    r.iteration_bytes = double(n_batches) * cost.bytes;
    e.iteration_s += double(n_batches) * (cost.seconds - work.compute_seconds());
    // More tokens choose more experts, all of them at most.
    const bool chooses =
        std::ranges::any_of(weights, [](const auto& stage) { return !stage.experts.empty(); });
    for (int i = 0; r.rate && i < (chooses ? 4 : 1); ++i) {
      if (i > 0) work.piece_bytes = piece_bytes(weights, r.batch_tokens);
      r.batch_tokens = batch_tokens * hiding_scale(work, *r.rate, kHidden);
    }
  }
  if (!s.held_out.empty()) {
    double tokens = 0;
    std::vector<Token> inputs, targets;
    for (int64_t i : s.held_out) {
      s.held_out_data().sample(i, inputs, targets);
      tokens += double(inputs.size());
    }
    const double n_passes = std::ceil(tokens / batch_tokens);
    e.evaluation_s = pipeline_seconds(forward, n_passes) * tokens / (n_passes * batch_tokens);
    if (e.reading && e.reading->rate) {
      const double bytes = n_passes * double(e.reading->weight_bytes - e.reading->held_bytes);
      e.evaluation_s = std::max(e.evaluation_s, bytes / *e.reading->rate);
    }
    const int64_t every = options.eval_every;
    const int64_t on_the_way = every > 0 ? (s.n_iter - 1) / every - s.state.iteration / every : 0;
    e.n_evaluations = on_the_way + (s.resumed ? 1 : 2);  // the last, and the one before training
  }
  e.total_s = double(e.n_iter) * e.iteration_s + double(e.n_evaluations) * e.evaluation_s;
  return e;
}

}  // namespace lora
