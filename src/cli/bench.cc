#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/finetune_flags.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/progress.h"
#include "cli/put.h"
#include "cli/values.h"
#include "kernels/isa.h"
#include "measure/generation.h"
#include "measure/training.h"
#include "train/run.h"

namespace lora::cli {

namespace {

using Json = nlohmann::ordered_json;

struct What {
  bool train = false, generate = false, json = false;
};

CommandLine bench_line(BenchOptions& o, What& what) {
  std::string shapes;
  for (const SyntheticShape& s : synthetic_shapes())
    shapes += fmt::format("{}{}", shapes.empty() ? "" : ", ", s.name);
  FinetuneOptions& t = o.training;
  return {
      "bench",
      "--model FILE | --synthetic NAME [flags]",
      "Measures how fast a model trains and generates on this machine, beside what the machine can do at "
      "best, and the memory it takes. Nothing is written. Close other programs, or compare only within one "
      "run.",
      {{"Model",
        {{"-m,--model,--model-base", "FILE", "", "model GGUF", non_empty_text(t.model_base)},
         {"--synthetic", "NAME", "", "random weights of this shape instead: " + shapes,
          non_empty_text(o.synthetic)},
         {"--layers", "N", "", "only the first N layers", integer(o.n_layer, 1).or_else("all")},
         {"--type", "T", "", "of the random weights: a tensor type, or q4_k_m", non_empty_text(o.type)}}},
       {"What to measure",
        {{"--train", "", "", "optimizer steps on random tokens (if --generate is not given)",
          turn(what.train)},
         {"--generate", "", "", "a prompt, then token after token", turn(what.generate)},
         {"--prompt", "N", "tokens", "length of the prompt", integer(o.n_prompt, 1)},
         {"-n,--n-predict", "N", "tokens", "how many to generate", integer(o.n_predict, 1)},
         {"--cache-type", "T", "", "of keys and values, as in generate", cache_type(o.cache_type)},
         {"--iterations", "N", "", "steps, or prompts, to measure after one that warms up",
          integer(o.iterations, 1)},
         {"--profile", "", "", "where the time of a training step goes", turn(o.profile)}}},
       finetune_flags(t, "Training, as in finetune",
                      {"--ctx", "--batch", "--lora-r", "--rank", "--rank-wq", "--rank-wk", "--rank-wv",
                       "--rank-wo", "--rank-w1", "--rank-w2", "--rank-w3"}),
       finetune_flags(t, "Performance, as in finetune",
                      {"--threads", "--precision", "--memory", "--use-checkpointing", "--no-checkpointing"}),
       {"Output", {{"--json", "", "", "print one JSON object", turn(what.json)}}}}};
}

void check(const Given& given, const BenchOptions& options, const What& what) {
  const auto is_given = [&](const char* flag) { return given.source(flag) != Source::nowhere; };
  const bool has_file = !options.training.model_base.empty(), is_synthetic = !options.synthetic.empty();
  if (has_file == is_synthetic) {
    throw UsageError(has_file ? "--synthetic: not together with --model"
                              : "--model: required, or --synthetic");
  }
  if (has_file && is_given("--type")) throw UsageError("--type: only with --synthetic");
  if (options.profile && !what.train) throw UsageError("--profile: only with --train");
}

struct BenchMemory {
  const char* key;
  const char* name;
  int64_t bytes;
};

std::vector<BenchMemory> memory_parts(const TrainingSpeed& s) {
  return {{"program_bytes", "program and vectors", s.program_bytes},
          {"lora_bytes", "adapter and optimizer", s.lora_bytes},
          {"input_bytes", "layers' inputs", s.plan.input_bytes},
          {"activation_bytes", "activations", s.plan.activation_bytes},
          {"workspace_bytes", "workspace", s.plan.workspace_bytes},
          {"other_bytes", "other", s.plan.other_bytes}};
}

void add_training(Json& json, const TrainingSpeed& s) {
  json["tokens"] = s.n_tokens;
  json["loss"] = s.loss;
  json["step_s"] = s.step_s;
  json["min_step_s"] = s.min_step_s;
  json["late_step_s"] = s.late_step_s;
  json["train_tok_per_s"] = s.tok_per_s();
  json["gflop_per_step"] = s.useful_flop / 1e9;
  json["executed_gflop_per_step"] = s.executed_flop / 1e9;
  json["gflops"] = s.flops() / 1e9;
  json["executed_gflops"] = s.executed_flop / s.step_s / 1e9;
  json["share_of_peak"] = s.share_of_peak();
  json["layers_kept"] = s.plan.n_kept;
  json["planned_bytes"] = s.planned_bytes();
  for (const BenchMemory& part : memory_parts(s)) json["memory"][part.key] = part.bytes;
  if (!s.profile) return;
  for (const PartRow& row : kParts)
    json["profile"][std::string(row.name)] = s.profile->seconds[size_t(row.part)];
  json["profiled_step_s"] = s.profiled_step_s;
  json["decode_s"] = s.decode_s;
  json["loops"] = s.loops.n;
  json["loops_s"] = s.loops.seconds;
  json["loop_overhead_s"] = s.loop_overhead_s;
}

void add_generation(Json& json, const GenerationSpeed& s) {
  json["prompt_tokens"] = s.n_prompt;
  json["prompt_precision"] = s.prompt_inputs;
  json["generate_precision"] = s.token_inputs;
  json["prompt_tok_per_s"] = s.prompt_tok_per_s();
  json["prompt_gflops"] = s.prompt_flops() / 1e9;
  json["prompt_share_of_peak"] = s.prompt_flops() / s.peak_flops;
  json["generate_tok_per_s"] = s.tok_per_s();
  json["late_token_s"] = s.late_token_s;
  json["generate_bytes_per_token"] = s.weight_bytes;
  json["generate_gb_per_s"] = s.bandwidth() / 1e9;
  json["read_gb_per_s"] = s.read_bandwidth / 1e9;
  json["share_of_bandwidth"] = s.bandwidth() / s.read_bandwidth;
  json["cache_bytes"] = s.cache_bytes;
}

std::string bench_row(const char* name, const std::string& text) {
  return fmt::format("{:<14}{}\n", name, text);
}

// Integers are compared with floats, too: with what is multiplied without them.
std::string peak_text(double flops, const BenchModel& bench) {
  return fmt::format("{:.1f} GFLOP/s of {} products", flops / 1e9,
                     lora::name(Arithmetic(bench.arithmetic.floats)));
}

std::string training_table(const TrainingSpeed& s, const BenchModel& bench, const FinetuneOptions& o) {
  const auto giga = [](double x) { return fmt::format("{:.1f} GFLOP/s", x / 1e9); };
  std::string parts;
  for (const BenchMemory& part : memory_parts(s)) {
    parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", part.name, format_size(uint64_t(part.bytes)));
  }
  const int64_t n_layer = bench.model().config.n_layer;
  std::string text =
      bench_row("batch", fmt::format("{} x {} tokens", o.n_batch, o.n_ctx)) +
      bench_row("step", fmt::format("{:.4g} s (shortest {:.4g} s)", s.step_s, s.min_step_s)) +
      bench_row("training", fmt::format("{:.1f} tokens/s", s.tok_per_s())) +
      bench_row("useful", fmt::format("{}, {:.1f}% of the peak ({:.4g} GFLOP a step)", giga(s.flops()),
                                      100 * s.share_of_peak(), s.useful_flop / 1e9)) +
      bench_row("executed",
                fmt::format("{}, {:.1f}% of the peak ({:.4g} GFLOP a step; {} of {} layers kept)",
                            giga(s.executed_flop / s.step_s), 100 * s.executed_flop / s.step_s / s.peak_flops,
                            s.executed_flop / 1e9, s.plan.n_kept, n_layer)) +
      bench_row("peak", peak_text(s.peak_flops, bench)) +
      bench_row("memory", fmt::format("{} beyond the model", format_size(uint64_t(s.bytes_beyond_model)))) +
      bench_row("planned", fmt::format("{}: {}", format_size(uint64_t(s.planned_bytes())), parts));
  if (!s.profile) return text;
  const double all = s.profiled_step_s;
  text += fmt::format("\none step, {:.4g} s\n", all);
  for (const PartRow& part : kParts) {
    const double t = s.profile->seconds[size_t(part.part)];
    if (t == 0) continue;  // the model has none of it
    text += fmt::format("  {:<20}{:>9.4f} s {:>5.1f}%  {}\n", part.name, t, 100 * t / all, part.what);
  }
  const double passes = s.executed_flop / (s.useful_flop / 2);
  text += fmt::format(
      "  decoding the weights alone takes {:.4f} s; the step's {:.2f} passes over them {:.1f}% of it\n",
      s.decode_s, passes, 100 * passes * s.decode_s / all);
  if (bench.pool.size() == 1) return text;
  text += fmt::format(
      "  {} parallel loops take {:.4f} s, {:.1f} us of each to begin and to end; the other {:.2f}% is one "
      "thread's\n",
      s.loops.n, s.loops.seconds, 1e6 * s.loop_overhead_s, 100 * (1 - s.loops.seconds / all));
  return text;
}

std::string generation_table(const GenerationSpeed& s) {
  return bench_row(
             "prompt",
             fmt::format(
                 "{:.1f} tokens/s ({} tokens, {} inputs); {:.1f} GFLOP/s, {:.1f}% of the peak of {:.1f}",
                 s.prompt_tok_per_s(), s.n_prompt, s.prompt_inputs, s.prompt_flops() / 1e9,
                 100 * s.prompt_flops() / s.peak_flops, s.peak_flops / 1e9)) +
         bench_row(
             "generation",
             fmt::format(
                 "{:.2f} tokens/s ({} tokens, {} inputs); {:.2f} GB/s of weights, {:.1f}% of the {:.2f} "
                 "that reading them alone reaches",
                 s.tok_per_s(), s.n_predict, s.token_inputs, s.bandwidth() / 1e9,
                 100 * s.bandwidth() / s.read_bandwidth, s.read_bandwidth / 1e9)) +
         bench_row("cache",
                   fmt::format("{} of keys, values and states", format_size(uint64_t(s.cache_bytes))));
}

}  // namespace

int bench_command(const std::vector<std::string>& args) {
  BenchOptions options;
  What what;
  const CommandLine line = bench_line(options, what);
  const Given given = parse_flags(line, args);
  if (given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  if (!what.generate) what.train = true;
  check(given, options, what);

  BenchModel bench(options);
  const std::string name = options.synthetic.empty() ? options.training.model_base : options.synthetic;
  const int64_t n_layer = bench.model().config.n_layer;
  Progress progress;
  for (const std::string& text : bench.replaced_types()) progress.say(text);
  if (what.train) {
    for (const std::string& note :
         arithmetic_notes(bench.model(), options.training.precision, bench.arithmetic))
      progress.say(note);
  }
  if (what.generate && given.source("--cache-type") != Source::nowhere && !attends(bench.model()))
    progress.say("warning: --cache-type: has no effect, this model keeps no keys and values");

  std::optional<GenerationSpeed> generation;
  std::optional<TrainingSpeed> training;
  if (what.generate) generation = measure_generation(bench, options);
  if (what.train) {
    training = measure_training(bench, options, [&](int64_t n, double s) {
      progress.step(n, options.iterations, fmt::format("{:.3f} s/step", s));
    });
    progress.end_bar();
  }

  if (what.json) {
    Json json = {{"model", name},
                 {"types", bench.types()},
                 {"n_layer", n_layer},
                 {"n_layer_whole", bench.n_layer_whole()},
                 {"n_weights", bench.n_weights()},
                 {"n_active_weights", int64_t(bench.active().n_weights)},
                 {"weight_bytes", bench.weight_bytes()},
                 {"isa", lora::name(isa())},
                 {"threads", bench.pool.size()}};
    if (training) json["precision"] = lora::name(bench.arithmetic);
    json["peak_gflops"] = (training ? training->peak_flops : generation->peak_flops) / 1e9;
    json["bytes_beyond_model"] = training ? training->bytes_beyond_model : generation->bytes_beyond_model;
    if (training) add_training(json, *training);
    if (generation) add_generation(json, *generation);
    print_json(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    return 0;
  }
  const double n_active = bench.active().n_weights;
  const std::string active =
      n_active < 0.99 * double(bench.n_weights()) ? fmt::format(" ({:.2f} a token)", n_active / 1e9) : "";
  std::string text =
      bench_row("model", fmt::format("{}, {} of {} layers, {}: {:.2f} billion weights{}, {}", name, n_layer,
                                     bench.n_layer_whole(), bench.types(), double(bench.n_weights()) / 1e9,
                                     active, format_size(uint64_t(bench.weight_bytes())))) +
      bench_row(
          "compute",
          fmt::format("{} kernels, {}{} threads", lora::name(isa()),
                      training ? fmt::format("{} inputs in training, ", lora::name(bench.arithmetic)) : "",
                      bench.pool.size()));
  if (training) text += training_table(*training, bench, options.training);
  if (generation) text += generation_table(*generation);
  print(text);
  return 0;
}

}  // namespace lora::cli
