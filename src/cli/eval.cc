#include <fmt/format.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "base/signals.h"
#include "cli/cluster.h"
#include "cli/commands.h"
#include "cli/finetune_flags.h"
#include "cli/help.h"
#include "cli/model_flags.h"
#include "cli/progress.h"
#include "cli/put.h"
#include "cli/show_samples.h"
#include "train/evaluate_samples.h"

namespace lora::cli {

namespace {

// finetune's flags about samples, but for the context's, which is the model's here; and the batch, on which
// the last digits depend where products are in bf16.
FlagGroup evaluated_sample_flags(FinetuneOptions& options) {
  FlagGroup group = sample_text_flags(options);
  group.title = "Samples of training data";
  std::erase_if(group.flags, [](const Flag& flag) { return main_name(flag) == "--ctx"; });
  for (const char* name : {"--parse-special", "--batch"}) group.flags.push_back(finetune_flag(options, name));
  return group;
}

// Of several processes the first speaks.
EvalEvents events_of(Progress& progress) {
  EvalEvents events = progress.eval_events();
  if (!join().is_first()) events.say = nullptr, events.on_window = nullptr;
  return events;
}

SamplesLoss evaluate_data(EvalOptions& model, FinetuneOptions& data, const Given& given) {
  if (given.source("--ctx-size") != Source::nowhere) data.n_ctx = model.n_ctx;
  expect_consistent(data);
  catch_stop_signals();
  Progress progress;
  for (const char* flag : {"--fill-with-next-samples", "--plain-fill", "--force-reshuffle", "--no-shuffle"}) {
    if (given.source(flag) == Source::command_line)
      progress.say(fmt::format("note: {} changes nothing: each sample is evaluated by itself", flag));
  }
  data.cluster = join();
  if (model.threads <= 0) model.threads = data.cluster.default_threads();
  return evaluate_samples(model, data, events_of(progress));
}

EvalResult evaluate_text(EvalOptions& options, const FinetuneOptions& data, const TextSource& source,
                         const Given& given) {
  options.pipeline = data.pipeline;
  options.allow_mixed = data.allow_mixed;
  options.cluster = join();
  if (options.threads <= 0) options.threads = options.cluster.default_threads();
  options.text = options.cluster.from_first(
      options.cluster.is_first() ? read_text(source, given, LineEnds::unix) : std::string());
  catch_stop_signals();
  Progress progress;
  return evaluate(options, events_of(progress));
}

}  // namespace

int eval_command(const std::vector<std::string>& args) {
  EvalOptions options;
  FinetuneOptions training;
  TextSource source;
  bool json = false;
  const FlagGroup sample_group = evaluated_sample_flags(training);
  FlagGroup model_group = model_flags(
      options, options.n_ctx, 2, fmt::format("{}; of --train-data {}", options.n_ctx, training.n_ctx), true);
  for (const char* name : {"--pipeline", "--allow-mixed"})
    model_group.flags.push_back(finetune_flag(training, name));
  const CommandLine line = {
      "eval",
      "--model FILE (--file FILE | --train-data FILE...) [--lora FILE]... [flags]",
      "Mean negative log-likelihood per token and perplexity of a text, over consecutive windows. With "
      "--train-data of samples, as the held-out loss of finetune with the same flags.",
      {text_flags(source),
       model_group,
       {"Output",
        {{"--json", "", "", R"(print {"nll", "perplexity", "tokens"}, of --train-data "samples" too)",
          turn(json)}}},
       sample_group}};
  const Given given = parse_flags(line, args);
  if (given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  SamplesLoss loss;
  const bool of_samples = wants_samples(given);
  // They would wait for each other.
  join().expect_same({{"what is evaluated", of_samples ? "--train-data" : "--file"}});
  if (of_samples) {
    loss = evaluate_data(options, training, given);
  } else {
    refuse_flags(sample_group.flags, given, "only with --train-data");
    if (options.precision == Precision::int8) throw UsageError("--precision int8: only with --train-data");
    loss.result = evaluate_text(options, training, source, given);
  }
  const EvalResult& result = loss.result;
  // Another process may have been asked to stop.
  const int stopped = 128 + (stop_signal() != 0 ? stop_signal() : int(SIGTERM));
  if (!join().is_first()) return result.stopped ? stopped : 0;
  if (result.stopped) {
    say(stderr, result.tokens == 0 ? "stopped: no figures"
                                   : fmt::format("stopped after {} tokens: nll {:.6f} perplexity {:.6f}",
                                                 result.tokens, result.nll, result.perplexity));
    return stopped;
  }
  if (json) {
    nlohmann::ordered_json figures = {
        {"nll", result.nll}, {"perplexity", result.perplexity}, {"tokens", result.tokens}};
    if (of_samples) figures["samples"] = loss.samples;
    print_json(figures.dump() + "\n");
  } else {
    print(fmt::format("nll        {:.6f}\nperplexity {:.6f}\ntokens     {}\n", result.nll, result.perplexity,
                      result.tokens));
    if (of_samples) print(fmt::format("samples    {}\n", loss.samples));
  }
  return 0;
}

}  // namespace lora::cli
