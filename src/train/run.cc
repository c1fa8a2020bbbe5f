#include "train/run.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/machine.h"
#include "base/same_file.h"
#include "data/data_files.h"
#include "kernels/gemm_int8/gemm_int8.h"
#include "kernels/isa.h"
#include "train/outputs.h"
#include "train/schedule.h"

namespace lora {
namespace {

double mib(uint64_t bytes) {
  return double(bytes) / (1 << 20);
}

// The largest value in [low, high] for which fits() holds, which it does for all below; 0 if there is none.
int64_t largest(int64_t low, int64_t high, const std::function<bool(int64_t)>& fits) {
  if (low > high || !fits(low)) return 0;
  while (low < high) {
    const int64_t middle = low + (high - low + 1) / 2;
    if (fits(middle)) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// What the program's own pages take differs by some hundred KiB from run to run; the next one shall fit.
constexpr uint64_t kMargin = uint64_t{1} << 20;

// Of the flags that need less, each with a value that fits, contexts in steps of so many tokens, and what it
// then needs.
std::string smaller_plans(const FinetuneOptions& options, uint64_t budget, int64_t step,
                          const std::function<uint64_t(int64_t n_batch, int64_t row)>& least, int64_t row) {
  const auto fits = [&](uint64_t bytes) { return bytes <= budget; };
  std::string plans;
  const auto offer = [&](const std::string& flags, uint64_t bytes) {
    plans += fmt::format("{}{} ({:.1f} MiB)", plans.empty() ? "" : " or ", flags, mib(bytes));
  };
  if (options.checkpointing == Checkpointing::off && fits(least(options.n_batch, row)))
    offer("--use-checkpointing", least(options.n_batch, row));
  if (const int64_t n = largest(1, options.n_batch - 1, [&](int64_t b) { return fits(least(b, row)); }))
    offer(fmt::format("--batch {}", n), least(n, row));
  const auto shorter = [&](int64_t n_batch) {
    return step * largest(1, (row - 1) / step, [&](int64_t k) { return fits(least(n_batch, k * step)); });
  };
  // Windows have to fit into their context.
  const auto context = [&](int64_t n) {
    return options.window.value_or(0) > n ? fmt::format("--ctx {} --window {}", n, n)
                                          : fmt::format("--ctx {}", n);
  };
  if (const int64_t n = shorter(options.n_batch)) {
    offer(context(n), least(options.n_batch, n));
  } else if (plans.empty() && shorter(1) > 0) {
    offer("--batch 1 " + context(shorter(1)), least(1, shorter(1)));
  }
  return plans;
}

// Beside so many bytes of weights; nullopt: cannot tell. The tenth that is left is for what no plan counts:
// page tables, other programs that grow. Processes of one machine share it.
std::optional<uint64_t> to_spare(uint64_t weights, const Cluster& cluster, const FreeMemory& free) {
  const std::optional<uint64_t> available = free(weights);
  return available ? std::optional(*available / 10 * 9 / uint64_t(cluster.size_here())) : std::nullopt;
}

// Bytes of the model that the processes of this machine read, all together.
uint64_t weights_here(const FinetuneOptions& options, const Model& model) {
  const Cluster& cluster = options.cluster;
  const std::vector<NetworkPart> parts = network_parts(model, options.pipeline);
  std::set<size_t> here = {size_t(stage_of(options))};
  for (int r = 0; r < cluster.size(); ++r) {
    if (r != cluster.rank() && cluster.host(r) == cluster.host(cluster.rank()))
      here.insert(size_t(r) % parts.size());
  }
  uint64_t sum = 0;
  for (const size_t stage : here) sum += weight_bytes(model, parts[stage]);
  return std::min(sum, model.gguf.file_bytes());
}

void expect_rank(const FinetuneOptions& options, std::string_view flag, std::optional<int64_t> given,
                 int64_t found) {
  if (given && *given != found) {
    fail("{}: {} was asked for, {} has rank {}", flag, *given, options.lora_init, found);
  }
}

// What is computed with and stored in f32 must be a number there.
void check_floats(const FinetuneOptions& o) {
  const auto check = [](const char* flag, std::optional<double> value) {
    if (value && (!std::isfinite(float(*value)) || float(*value) == 0))
      fail("{}: {:g} is beyond what F32 holds", flag, *value);
  };
  check("--lora-alpha", o.lora_alpha);
  check("--rope-freq-base", o.rope_freq_base);
  check("--rope-freq-scale", o.rope_freq_scale);
  check("--norm-rms-eps", o.norm_rms_eps);
  check("--lora-plus", o.lora_plus);
  if (o.neftune > 0) check("--neftune", o.neftune);
  if (float(o.lora_dropout) == 1) fail("--lora-dropout: {} leaves no input of the adapter", o.lora_dropout);
}

// What a run's setting --layers is: "all" is not written down, so that checkpoints from before the flag fit.
std::string layers_setting(const FinetuneOptions& options, const Model& model) {
  const std::vector<int64_t> layers = chosen_layers(options.layers, model.config.n_layer);
  return int64_t(layers.size()) == model.config.n_layer ? "all" : layers_text(layers);
}

}  // namespace

Ranks ranks_of(const FinetuneOptions& options, const Model& model) {
  const auto check = [](const std::string& flag, int64_t rank) {
    if (rank < 0 || rank > kMaxLoraRank) fail("{}: {} is not from 0 to {}", flag, rank, kMaxLoraRank);
  };
  const auto flag_of = [&](std::string_view tensor) { return rank_flag_of(options, tensor); };
  for (const auto& [tensor, rank] : options.ranks) check(flag_of(tensor), rank);
  const int64_t otherwise = options.lora_r.value_or(kDefaultLoraR);
  check("--lora-r", otherwise);
  Ranks ranks = ranks_of(model, options.ranks, otherwise, flag_of);
  if (options.layers.is_all()) return ranks;
  const std::vector<int64_t> layers = chosen_layers(options.layers, model.config.n_layer);
  std::erase_if(ranks, [&](const auto& row) {
    if (row.second == 0 || has_tensor(model, row.first, layers)) return false;
    if (options.ranks.contains(row.first))
      fail("{}: none of the blocks {} (--layers) has such a tensor", flag_of(row.first), layers_text(layers));
    return true;
  });
  return ranks;
}

std::string rank_flag_of(const FinetuneOptions& options, std::string_view tensor) {
  return options.ranks_by_name.contains(tensor) ? fmt::format("--rank {}", tensor) : rank_flag_of(tensor);
}

std::function<std::string(std::string_view)> typed_names(const FinetuneOptions& options) {
  return [&](std::string_view setting) {
    for (const RankFlag& row : rank_flags()) {
      if (rank_flag_of(row.tensor) == setting) return rank_flag_of(options, row.tensor);
    }
    return std::string(setting);
  };
}

FinetuneOptions with_data_files(const FinetuneOptions& options, const Say& say) {
  FinetuneOptions result = options;
  for (auto& [what, paths] :
       {std::pair{"data", &result.train_data}, std::pair{"held out", &result.val_data}}) {
    DataFiles files = data_files(*paths);
    *paths = std::move(files.paths);
    for (const std::string& note : files.notes) {
      if (say) say(note.starts_with("warning: ") ? note : fmt::format("{}: {}", what, note));
    }
  }
  for (const std::string& path : result.val_data) {
    const bool is_trained_on = std::ranges::any_of(
        result.train_data, [&](const std::string& other) { return same_file(path, other); });
    if (!is_trained_on) continue;
    if (say)
      say(fmt::format("warning: --val-data: {} is trained on, too, so the held-out loss tells little", path));
    break;
  }
  return result;
}

TextOptions text_options(const FinetuneOptions& o) {
  return {.sample_start = o.escape ? unescape(o.sample_start) : o.sample_start,
          .include_sample_start = o.include_sample_start,
          .overlapping_samples = o.overlapping_samples,
          .separate_with_bos = o.separate_with_bos,
          .separate_with_eos = o.separate_with_eos,
          .parse_special = o.parse_special,
          .n_ctx = o.n_ctx,
          .window = !o.window       ? 0
                    : *o.window > 0 ? *o.window
                                    : o.n_ctx,
          .train_on_all = o.train_on_all,
          .chat_template = o.chat_template,
          .chat_settings = {nullptr, o.date.value_or(today())},
          .skip_bad_records = o.skip_bad_records,
          .columns = o.columns,
          .names = o.names,
          .card = o.card,
          .overlap_turns = o.overlap_turns};
}

bool fills_rows(const FinetuneOptions& options) {
  return options.fill_with_next_samples || options.plain_fill;
}

LoraParameters initial_parameters(const FinetuneOptions& options, const Model& model, uint64_t seed,
                                  const std::optional<Adapter>& lora_init) {
  if (!lora_init) {
    const Ranks ranks = ranks_of(options, model);
    const std::vector<int64_t> layers = chosen_layers(options.layers, model.config.n_layer);
    const std::optional<uint64_t> budget = memory_budget(options, least_room(model, part_of(options, model)));
    const auto needed = uint64_t(trained_bytes(options, parameter_bytes(model, ranks, layers)));
    if (budget && needed > *budget) {
      fail(
          "memory: {:.1f} MiB are there, adapter and optimizer alone take {:.1f} MiB; a smaller --lora-r "
          "needs less",
          mib(*budget), mib(needed));
    }
    return make_parameters(model, ranks, float(options.lora_alpha.value_or(kDefaultLoraAlpha)), seed,
                           options.rslora, layers);
  }
  const Adapter& adapter = *lora_init;
  if (options.lora_alpha && float(*options.lora_alpha) != adapter.alpha) {
    fail("--lora-alpha: {} was asked for, {} has {}", *options.lora_alpha, options.lora_init, adapter.alpha);
  }
  std::set<std::string_view> found;
  std::set<int64_t> blocks;
  for (const LoraPair& pair : adapter.pairs) {
    if (const auto block = block_of(pair.base)) blocks.insert(*block);
    const std::string_view name = part_name(pair.base);
    found.insert(name);
    const auto given = options.ranks.find(name);
    if (given != options.ranks.end()) {
      expect_rank(options, rank_flag_of(options, name), given->second, pair.rank);
    } else if (pair.base.starts_with("blk.")) {  // lora_r does not speak of the embedding and the head
      expect_rank(options, "--lora-r", options.lora_r, pair.rank);
    }
  }
  for (const auto& [name, rank] : options.ranks) {
    if (!found.contains(name)) expect_rank(options, rank_flag_of(options, name), rank, 0);
  }
  const std::vector<int64_t> has(blocks.begin(), blocks.end());
  const std::vector<int64_t> asked = chosen_layers(options.layers, model.config.n_layer);
  if (!options.layers.is_all() && has != asked) {
    fail("--layers: blocks {} were asked for, {} has adapters on {}", layers_text(asked), options.lora_init,
         layers_text(has));
  }
  return make_parameters(adapter, options.rslora);
}

int stage_of(const FinetuneOptions& options) {
  return options.stage.value_or(options.cluster.rank() % options.pipeline);
}

NetworkPart part_of(const FinetuneOptions& options, const Model& model) {
  const int n = options.pipeline, n_pipelines = std::max(1, options.cluster.size() / n);
  NetworkPart part = network_parts(model, n)[size_t(stage_of(options))];
  // Without a backward pass one is computed while another is sent.
  const int64_t n_batches = (options.grad_acc + n_pipelines - 1) / n_pipelines;
  part.n_flight = std::min(goes_back(model, part) ? part.n_flight : 2, n_batches);
  if (part.is_whole()) part.n_flight = 0;
  return part;
}

Grid grid_of(const FinetuneOptions& options) {
  return options.cluster.is_alone() ? Grid{} : make_grid(options.cluster, options.pipeline);
}

OwnedByStage owned_by_stage(const FinetuneOptions& options, const Model& model,
                            const LoraParameters& parameters) {
  const std::vector<NetworkPart> parts = network_parts(model, options.pipeline);
  const auto stage_of = [&](const std::string& tensor) {
    const std::optional<int64_t> block = block_of(tensor);
    if (!block) return tensor == kTokenEmbedding ? size_t{0} : parts.size() - 1;
    return size_t(std::ranges::find_if(parts, [&](const auto& p) { return *block < p.layers.end(); }) -
                  parts.begin());
  };
  OwnedByStage owned(parts.size());
  size_t last = parts.size();
  for (const auto& pair : parameters.pairs) {
    std::vector<Share>& ranges = owned[stage_of(pair.base)];
    const int64_t end = pair.b + pair.b_size();
    if (stage_of(pair.base) == last) {
      ranges.back().end = end;
    } else {
      ranges.push_back({pair.a, end});
    }
    last = stage_of(pair.base);
  }
  return owned;
}

bool has_held_out(const FinetuneOptions& options) {
  return options.val_split > 0 || !options.val_data.empty();
}

void check_options(const FinetuneOptions& options) {
  check_floats(options);
  if (options.adam_min_alpha > options.adam_alpha) {
    fail("--adam-min-alpha: {} is above --adam-alpha {}", options.adam_min_alpha, options.adam_alpha);
  }
  const bool held_out = has_held_out(options);
  if (!options.val_data.empty() && options.val_split > 0) fail("--val-split: not together with --val-data");
  if (options.eval_every > 0 && !held_out) fail("--eval-every: needs --val-data or --val-split");
  if (options.patience > 0 && !held_out) fail("--patience: needs --val-data or --val-split");
  if (options.patience > 0 && options.eval_every <= 0)
    fail("--patience: needs --eval-every, which it counts");
  if (options.save_best && !held_out) fail("--save-best: needs --val-data or --val-split");
  if (options.save_best && options.lora_out.empty() && options.best_out.empty())
    fail("--save-best: needs a name in --lora-out or --best-out");
  if (!options.best_out.empty() && !options.save_best) fail("--best-out: needs --save-best");
  if (options.sample_prompt && !held_out) fail("--sample-prompt: needs --val-data or --val-split");
  if (options.window && !options.sample_start.empty())
    fail("--window: not together with --sample-start, which says where samples begin");
  if (options.window && options.overlapping_samples)
    fail("--window: not together with --overlapping-samples: its windows lie one behind the other");
  if (options.window.value_or(0) > options.n_ctx) {
    fail("--window: {} tokens are more than --ctx {}, to which samples are cut", *options.window,
         options.n_ctx);
  }
  if (options.sample_prompt && options.pipeline > 1)
    fail("--sample-prompt: not together with --pipeline: no process has the whole model to continue it with");
  if (options.lora_plus != 1 && options.optimizer == Optimizer::lbfgs)
    fail("--lora-plus: not together with --use-lbfgs, which has one step for all");
  if (options.save_best && !options.lora_out.empty() &&
      same_file(best_path(options), output_paths(options, options.lora_out, 0).back()))
    fail("--save-best: {} is the latest adapter's file, too", best_path(options));
  if (options.only_write_lora && options.checkpoint_in == "")
    fail("--only-write-lora: needs a checkpoint in --checkpoint-in");
  if (options.only_write_lora && options.lora_out.empty())
    fail("--only-write-lora: needs a name in --lora-out");
  if (!options.lora_out.empty() && options.lora_out == options.checkpoint_out)
    fail("--checkpoint-out: {} is the file of --lora-out", options.lora_out);
}

int64_t iteration_count(const FinetuneOptions& options, int64_t n_samples) {
  if (!options.epochs) {
    return options.optimizer == Optimizer::adam ? options.adam_iter : options.lbfgs_iter;
  }
  const double n =
      std::ceil(*options.epochs * double(n_samples) / double(options.n_batch * options.grad_acc));
  if (n > double(std::numeric_limits<int32_t>::max()))
    fail("--epochs: {} are {} iterations, too many", *options.epochs, n);
  return int64_t(n);
}

Settings run_settings(const FinetuneOptions& options, const Model& model, const LoraParameters& parameters) {
  const auto flag = [](bool on) { return std::string(on ? "on" : "off"); };
  Settings settings = {
      {"model", fmt::format("{:016x}", fingerprint(model.gguf))},
      {"--sample-start", options.sample_start},
      {"--escape", flag(options.escape)},
      {"--include-sample-start", flag(options.include_sample_start)},
      {"--overlapping-samples", flag(options.overlapping_samples)},
      {"--fill-with-next-samples", flag(fills_rows(options))},
      {"--plain-fill", flag(options.plain_fill)},
      {"--separate-with-eos", flag(options.separate_with_eos)},
      {"--separate-with-bos", flag(options.separate_with_bos)},
      {"--no-shuffle", flag(!options.shuffle)},
      {"--parse-special", flag(options.parse_special)},
      {"--train-on", options.train_on_all ? "all" : "completion"},
      // A file counts by what it says.
      {"--chat-template", is_template_file(options.chat_template)
                              ? fmt::format("{:016x}", hash(MappedFile(options.chat_template).text()))
                              : options.chat_template},
      {"--skip-bad-records", flag(options.skip_bad_records)},
      {"--ctx", std::to_string(options.n_ctx)},
      {"--batch", std::to_string(options.n_batch)},
      {"--grad-acc", std::to_string(options.grad_acc)},
      {"--lora-alpha", fmt::format("{}", parameters.alpha)},
      {"--rslora", flag(options.rslora)},
      {"--lora-dropout", fmt::format("{}", options.lora_dropout)},
      {"--use-lbfgs", flag(options.optimizer == Optimizer::lbfgs)},
      {"--val-split", fmt::format("{}", options.val_split)},
      {"--rope-freq-base", fmt::format("{}", model.config.rope.freq_base)},
      {"--rope-freq-scale", fmt::format("{}", model.config.rope.freq_scale)},
      {"--norm-rms-eps", fmt::format("{}", model.config.norm_eps)},
  };
  // Where they are given alone, so that checkpoints from before them still go on.
  if (options.neftune > 0) settings.emplace_back("--neftune", fmt::format("{}", options.neftune));
  if (!options.columns.empty()) settings.emplace_back("--columns", columns_text(options.columns));
  if (options.names) settings.emplace_back("--names", "on");
  if (!options.card.empty())
    settings.emplace_back("--card", fmt::format("{:016x}", hash(MappedFile(options.card).text())));
  if (options.overlap_turns > 0)
    settings.emplace_back("--overlap-turns", std::to_string(options.overlap_turns));
  if (const std::string layers = layers_setting(options, model); layers != "all")
    settings.emplace_back("--layers", layers);
  // Not named without the flag: checkpoints from before there was one fit.
  if (const int64_t window = text_options(options).window)
    settings.emplace_back("--window", std::to_string(window));
  // Ranks in words, one setting per kind of tensor, so that a difference names its flag.
  Ranks ranks;
  for (const auto& pair : parameters.pairs) ranks[std::string(part_name(pair.base))] = pair.rank;
  for (const RankFlag& row : rank_flags()) {
    const auto found = ranks.find(row.tensor);
    settings.emplace_back(rank_flag_of(row.tensor), std::to_string(found == ranks.end() ? 0 : found->second));
    if (found != ranks.end()) ranks.erase(found);
  }
  for (const auto& [name, rank] : ranks) settings.emplace_back(rank_flag_of(name), std::to_string(rank));
  return settings;
}

Settings changeable_settings(const FinetuneOptions& o, int64_t n_iter, Arithmetic arithmetic) {
  Settings settings = {{"--precision", std::string(name(arithmetic))}};
  if (o.optimizer == Optimizer::lbfgs) return settings;
  const auto add = [&](const char* name, const auto& value) {
    settings.emplace_back(name, fmt::format("{}", value));
  };
  add("--adam-alpha", o.adam_alpha);
  add("--adam-min-alpha", o.adam_min_alpha);
  const ScheduleSteps steps = schedule_steps(o, n_iter);
  add("--schedule", name(o.schedule));
  add("--warmup", steps.warmup);
  add("--cos-decay-steps", steps.decay);
  add("--cos-decay-min", o.cos_decay_min);
  add("--enable-restart", o.restart);
  add("--cos-decay-restart", o.cos_decay_restart);
  add("--adam-decay", o.adam_decay);
  add("--adam-decay-min-ndim", o.adam_decay_min_ndim);
  add("--adam-beta1", o.adam_beta1);
  add("--adam-beta2", o.adam_beta2);
  add("--adam-eps", o.adam_eps);
  add("--adam-gclip", o.adam_gclip);
  add("--lora-plus", o.lora_plus);
  return settings;
}

void expect_asked_for(const FinetuneOptions& options, const Model& model, const Checkpoint& checkpoint,
                      const std::string& path) {
  const auto expect = [&](const std::string& name, const std::string& asked) {
    std::string found = setting(checkpoint, name);
    if (found.empty() && name == "--layers") found = "all";
    if (found != asked) {
      fail("{}: {} differs: {} in the checkpoint, {} was asked for", path, typed_names(options)(name), found,
           asked);
    }
  };
  for (const auto& [name, rank] : options.ranks) {
    const std::string flag = rank_flag_of(name);
    if (rank > 0 || !setting(checkpoint, flag).empty()) expect(flag, std::to_string(rank));
  }
  for (const auto& [flag, found] : checkpoint.settings) {
    if (!options.lora_r || found == "0" || !flag.starts_with("--rank")) continue;
    const auto speaks_of = [&flag = flag](std::string_view tensor) { return flag == rank_flag_of(tensor); };
    const bool is_given =
        std::ranges::any_of(options.ranks, [&](const auto& row) { return speaks_of(row.first); });
    // lora_r does not speak of the embedding, the head and norms.
    const bool is_apart = speaks_of("token_embd") || speaks_of("output") || flag.ends_with("norm");
    if (!is_given && !is_apart) expect(flag, std::to_string(*options.lora_r));
  }
  if (options.lora_alpha) expect("--lora-alpha", fmt::format("{}", float(*options.lora_alpha)));
  if (options.rslora) expect("--rslora", "on");
  if (!options.layers.is_all()) expect("--layers", layers_setting(options, model));
}

namespace {

// The matrices that a step multiplies with.
template <class F>
void for_each_multiplied(const Model& model, const F& f) {
  for (const Layer& layer : model.layers) {
    for_each_linear(layer, [&](const Linear& linear, LinearRole role) {
      if (role != LinearRole::routes && !linear.adapters_only) f(linear.w.type);
    });
  }
  f(model.output.w.type);
}

}  // namespace

Arithmetic arithmetic_of(const Model& model, Precision precision) {
  Arithmetic result = arithmetic(precision);
  const GradientBytes bytes = model.config.architecture->gradient_bytes;
  if (precision == Precision::automatic)
    result.int8 = prefers_int8_training() && bytes != GradientBytes::floats;
  result.fine_gradients = bytes != GradientBytes::one;
  bool has_any = false;
  for_each_multiplied(model, [&](Type type) { has_any |= has_int8_gemm(type); });
  result.int8 &= has_any;
  return result;
}

std::vector<std::string> arithmetic_notes(const Model& model, Precision precision, Arithmetic arithmetic) {
  std::vector<std::string> notes;
  if (precision == Precision::automatic && arithmetic_of(model, precision).int8 && !arithmetic.int8)
    notes.push_back(
        fmt::format("note: --precision auto: {} inputs, as the run began; 8-bit integers would be faster "
                    "(--precision int8)",
                    name(arithmetic)));
  if (arithmetic.floats == GemmInput::bf16 && !prefers_bf16())
    notes.emplace_back("note: --precision bf16: slower than f32 on this processor (--precision auto)");
  if (precision == Precision::int8 && !arithmetic.int8)
    notes.push_back(
        fmt::format("note: --precision int8: no matrix of the model is quantized; all are multiplied in {}",
                    name(arithmetic)));
  if (precision == Precision::automatic && prefers_int8_training() &&
      model.config.architecture->gradient_bytes == GradientBytes::floats &&
      arithmetic_of(model, Precision::int8).int8) {
    notes.push_back(fmt::format(
        "note: --precision auto: {}, since gradients of {} lose more in 8-bit integers than those of "
        "other families (--precision int8: faster)",
        name(arithmetic), model.config.architecture->name));
  }
  if (!arithmetic.int8) return notes;
  if (precision == Precision::automatic) {
    notes.emplace_back(
        "note: --precision auto: quantized weights are multiplied in 8-bit integers, which is faster here "
        "and loses less than bf16 would (--precision f32: floats)");
  } else if (has_bf16_tiles()) {
    notes.emplace_back(
        "note: --precision int8: slower than bf16 on this processor, which has a unit for products of bf16 "
        "(--precision auto)");
  }
  int64_t n = 0, n_left = 0;
  std::set<std::string_view> types;
  for_each_multiplied(model, [&](Type type) {
    ++n;
    if (has_int8_gemm(type)) return;
    ++n_left;
    types.insert(traits(type).name);
  });
  if (n_left > 0) {
    notes.push_back(
        fmt::format("note: {} of the model's {} matrices are in {}, of which there are no "
                    "products in 8-bit integers; theirs are in {}",
                    n_left, n, fmt::join(types, ", "), name(Arithmetic(arithmetic.floats))));
  }
  return notes;
}

std::optional<uint64_t> memory_budget(const FinetuneOptions& options, uint64_t model_bytes) {
  return options.memory > 0 ? options.memory : to_spare(model_bytes, options.cluster, available_memory);
}

namespace {

// A step in the memory that there is for it.
struct PlanInRoom {
  StepPlan plan;
  uint64_t others = 0;              // bytes of what is not the step's
  std::optional<uint64_t> allowed;  // bytes for both; nullopt: nobody knows

  uint64_t needed() const { return uint64_t(plan.total_bytes()) + others; }
  bool fits() const { return !allowed || needed() <= *allowed; }
};

// Of so many samples of so many tokens, of whose layers so many are kept.
StepPlan plan_of(const FinetuneOptions& options, const Model& model, int64_t n_batch, int64_t row,
                 int64_t n_kept, Arithmetic arithmetic, int n_threads) {
  return plan_step(model, n_batch * row, row, n_kept, true, arithmetic, n_threads, part_of(options, model));
}

PlanInRoom plan_in_room(const FinetuneOptions& options, const Model& model, int64_t row,
                        const OtherMemory& other, Arithmetic arithmetic, int n_threads,
                        const FreeMemory& free) {
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  if (options.n_batch > most / row) {
    fail("--batch: {} samples of {} tokens are more than {} tokens at once", options.n_batch, row, most);
  }
  const NetworkPart part = part_of(options, model);
  const auto plan_keeping = [&](int64_t n_kept) {
    return plan_of(options, model, options.n_batch, row, n_kept, arithmetic, n_threads);
  };
  // A model that leaves no room for the smallest step is read from disk, in each pass what memory does not
  // hold.
  std::optional<uint64_t> spare = to_spare(weights_here(options, model), options.cluster, free);
  const int64_t n_least = options.checkpointing == Checkpointing::off ? model.config.n_layer : 0;
  const uint64_t least_bytes = uint64_t(plan_keeping(n_least).total_bytes()) + uint64_t(other.to_come);
  const bool is_held = !spare || least_bytes <= *spare;
  if (!is_held) spare = to_spare(least_room(model, part), options.cluster, free);

  PlanInRoom result;
  StepPlan& plan = result.plan;
  result.allowed = options.memory > 0 ? std::optional(options.memory) : spare;
  result.others = uint64_t(other.to_come) + uint64_t(options.memory > 0 ? other.there : 0);
  if (options.checkpointing != Checkpointing::on) {
    uint64_t left = result.allowed.value_or(0) - std::min(result.allowed.value_or(0), result.others);
    // Where --memory is more than there is, a run that keeps less is not killed.
    if (spare) left = std::min(left, *spare - std::min(*spare, uint64_t(other.to_come)));
    plan = plan_step_within(left, model, options.n_batch * row, row, n_least, arithmetic, n_threads, part);
  } else {
    plan = plan_keeping(0);
  }
  if (!is_held) {
    const uint64_t taken = uint64_t(plan.total_bytes() + other.to_come);
    plan.weight_room = weight_room(model, part, to_spare(0, options.cluster, free).value_or(0), taken);
  }
  return result;
}

}  // namespace

bool has_plan(const FinetuneOptions& options, const Model& model, int64_t row, const OtherMemory& other,
              Arithmetic arithmetic, int n_threads, const FreeMemory& free) {
  return plan_in_room(options, model, row, other, arithmetic, n_threads, free).fits();
}

StepPlan make_plan(const FinetuneOptions& options, const Model& model, int64_t row, const OtherMemory& other,
                   Arithmetic arithmetic, int n_threads, const FreeMemory& free) {
  const PlanInRoom found = plan_in_room(options, model, row, other, arithmetic, n_threads, free);
  if (found.fits()) return found.plan;
  const uint64_t budget = *found.allowed;
  const auto least = [&](int64_t n_batch, int64_t n_row) {
    return uint64_t(plan_of(options, model, n_batch, n_row, 0, arithmetic, n_threads).total_bytes()) +
           found.others;
  };
  std::string smaller;
  if (arithmetic.int8) {  // which takes some MiB more than floats
    const PlanInRoom floats = plan_in_room(options, model, row, other, arithmetic.floats, n_threads, free);
    if (floats.fits())
      smaller = fmt::format("--precision {} ({:.1f} MiB)", name(Arithmetic(arithmetic.floats)),
                            mib(floats.needed()));
  }
  std::string also;
  for (const auto& [step, margin] : {std::pair{16, kMargin}, {16, 0}, {1, 0}}) {
    if (also.empty()) also = smaller_plans(options, budget - std::min(budget, margin), step, least, row);
  }
  if (!also.empty()) smaller += (smaller.empty() ? "" : " or ") + also;
  fail("memory: {:.1f} MiB are there, {:.1f} MiB are needed{}; {} (--memory {}MiB to go on all the same)",
       mib(budget), mib(found.needed()),
       options.checkpointing == Checkpointing::off ? " with --no-checkpointing" : " at the least",
       smaller.empty() ? "no --ctx and --batch would fit" : "these would fit: " + smaller,
       (found.needed() + kMargin) / (1 << 20) + 1);
}

int64_t trained_bytes(const FinetuneOptions& options, int64_t parameter_bytes,
                      std::optional<int64_t> summed) {
  const int64_t values = parameter_bytes / 4, copies = options.lora_out.empty() ? 0 : 1;
  const int64_t own = 4 * summed.value_or(values / 4);
  const Cluster peers = grid_of(options).peers;
  // Sums of gradients that wait for their neighbours, and other processes' slices of them.
  int64_t sums = options.grad_acc > 1 || !peers.is_alone() ? peers.sum_vectors(options.grad_acc) : 0;
  if (options.pipeline > 1) ++sums;  // a stage's side by side
  return values * (copies + (options.optimizer == Optimizer::adam ? 4 : 2 + kLbfgsFloats)) + own * sums;
}

int64_t row_length(const FinetuneOptions& options, const Dataset& data) {
  return fills_rows(options) ? options.n_ctx : std::min(options.n_ctx, data.report().longest + 1);
}

}  // namespace lora
