#include "train/estimate.h"

#include <fmt/format.h>

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
  for (const MemoryPart& part : e.memory) text += row(part.name, mib(part.bytes));
  text += row("in all, beyond the model's file", mib(e.memory_bytes));
  if (!e.memory.empty()) text += row("of these still to come", mib(e.memory_bytes - e.memory.front().bytes));
  text += row("the model's file, mapped", mib(e.model_bytes));
  text += row("free on this machine", e.free_bytes ? mib(int64_t(*e.free_bytes)) : "cannot tell");
  text += fmt::format("time{}\n", e.at_least ? ", at least" : "");
  text += row("an iteration", fmt::format("{:.3f} s", e.iteration_s));
  if (e.n_evaluations > 0)
    text +=
        row(fmt::format("an evaluation, of {}", e.n_evaluations), fmt::format("{:.3f} s", e.evaluation_s));
  text += row(fmt::format("all {} iterations", e.n_iter), format_duration(e.total_s));
  return text;
}

}  // namespace

int estimate_command(const std::vector<std::string>& args) {
  FinetuneOptions options;
  const CommandLine line = {
      "estimate", "--model-base FILE --train-data FILE... [flags]",
      "What `lora finetune` with the same flags would take: memory by part, and the time of an iteration and "
      "of all, from some layers that are timed on this machine. Nothing is trained or written.",
      finetune_flags(options)};
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
  print(table(estimate(options, [&](std::string_view text) { progress.say(text); })));
  return 0;
}

}  // namespace lora::cli
