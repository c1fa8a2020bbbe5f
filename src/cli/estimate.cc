#include "train/estimate.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/finetune_flags.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/progress.h"
#include "cli/put.h"

namespace lora::cli {

namespace {

std::string row(std::string_view name, const std::string& value) {
  return fmt::format("  {:<36}{:>14}\n", name, value);
}

std::string mib(int64_t bytes) {
  return fmt::format("{:.1f} MiB", double(bytes) / (1 << 20));
}

std::string table(const Estimate& e) {
  std::string text =
      fmt::format("{}\n\nmemory\n", memory_sentence(e.memory_bytes, e.model_bytes, e.free_bytes));
  const size_t n = e.stages.size();
  for (size_t i = 0; i < n; ++i) {
    const StageMemory& stage = e.stages[i];
    text += row(
        fmt::format("stage {} of {}, layers {} to {}", i + 1, n, stage.layers.begin, stage.layers.end() - 1),
        mib(stage.memory_bytes));
    text += row("  its weights", mib(stage.weight_bytes));
  }
  if (n > 0) text += fmt::format("  of stage {}, which takes most:\n", largest_stage(e.stages) + 1);
  for (const MemoryPart& part : e.memory) text += row(part.name, mib(part.bytes));
  text += row("in all, beyond the model's file", mib(e.memory_bytes));
  if (!e.memory.empty()) text += row("of these still to come", mib(e.memory_bytes - e.memory.front().bytes));
  text += row("the model's file, mapped", mib(e.model_bytes));
  text += row("free on this machine", e.free_bytes ? mib(int64_t(*e.free_bytes)) : "cannot tell");
  if (e.reading) {
    text += row("weights", mib(e.reading->weight_bytes));
    text += row("of these held in memory", mib(e.reading->held_bytes));
    text += row("the others, read in an iteration", mib(int64_t(e.reading->iteration_bytes)));
    text += row("at",
                e.reading->rate ? fmt::format("{:.0f} MiB/s", *e.reading->rate / (1 << 20)) : "cannot tell");
    if (e.reading->rate)
      text += row("adding at most a twentieth from",
                  fmt::format("{:.0f} tokens", std::ceil(e.reading->batch_tokens)));
  }
  text += "disk\n";
  for (const OutputFiles& files : e.files)
    text +=
        row(fmt::format("{}, {} of {}", files.kind, files.n, mib(files.bytes)), mib(files.n * files.bytes));
  text += row("in all", mib(e.disk_bytes));
  text += row("free there", e.free_disk ? mib(int64_t(*e.free_disk)) : "cannot tell");
  text += fmt::format("time{}\n", e.at_least ? ", at least" : "");
  text += row("an iteration", fmt::format("{:.3f} s", e.iteration_s));
  if (e.n_evaluations > 0)
    text +=
        row(fmt::format("an evaluation, of {}", e.n_evaluations), fmt::format("{:.3f} s", e.evaluation_s));
  text += row(fmt::format("all {} iterations", e.n_iter), format_duration(e.total_s));
  return text;
}

nlohmann::ordered_json estimate_json(const Estimate& e) {
  const auto or_null = [](const std::optional<uint64_t>& bytes) {
    return bytes ? nlohmann::ordered_json(*bytes) : nlohmann::ordered_json();
  };
  nlohmann::ordered_json json = {{"memory_bytes", e.memory_bytes}};
  for (const StageMemory& stage : e.stages) {
    json["stages"].push_back({{"layers", stage.layers.n},
                              {"memory_bytes", stage.memory_bytes},
                              {"model_bytes", stage.weight_bytes}});
  }
  for (const MemoryPart& part : e.memory) json["memory"][part.name] = part.bytes;
  json["model_bytes"] = e.model_bytes;
  json["free_bytes"] = or_null(e.free_bytes);
  if (e.reading) {
    json["weights"] = {{"bytes", e.reading->weight_bytes},
                       {"held_bytes", e.reading->held_bytes},
                       {"read_bytes_per_iteration", e.reading->iteration_bytes},
                       {"read_bytes_per_s", e.reading->rate ? nlohmann::ordered_json(*e.reading->rate)
                                                            : nlohmann::ordered_json()},
                       {"hidden_from_batch_tokens", e.reading->batch_tokens}};
  }
  json["disk_bytes"] = e.disk_bytes;
  for (const OutputFiles& files : e.files)
    json["disk"][files.kind] = {{"n", files.n}, {"bytes", files.bytes}};
  json["free_disk_bytes"] = or_null(e.free_disk);
  json["iteration_s"] = e.iteration_s;
  json["evaluation_s"] = e.evaluation_s;
  json["n_evaluations"] = e.n_evaluations;
  json["n_iter"] = e.n_iter;
  json["total_s"] = e.total_s;
  json["at_least"] = e.at_least;
  return json;
}

}  // namespace

int estimate_command(const std::vector<std::string>& args) {
  FinetuneOptions options;
  bool json = false;
  CommandLine line = {
      "estimate", "--model-base FILE --train-data FILE... [flags]",
      "What `lora finetune` with the same flags would take: memory by part, disk, and the time of an "
      "iteration "
      "and of all, from some layers that are timed on this machine. Nothing is trained or written.",
      finetune_flags(options)};
  line.groups.push_back({"Output", {{"--json", "", "", "print JSON", turn(json)}}});
  const Given given = parse_flags(line, args);
  if (given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  choose_run_length(options, given);
  if (!options.checkpoint_in)
    options.checkpoint_in = "";  // of a whole run, unless one to go on from is named
  expect_consistent(options);
  Progress progress;
  for (const std::string& warning : idle_flags(options, given)) progress.say(warning);
  const Estimate e = estimate(options, [&](std::string_view text) { progress.say(text); });
  if (json) {
    print_json(estimate_json(e).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  } else {
    print(table(e));
  }
  return 0;
}

}  // namespace lora::cli
