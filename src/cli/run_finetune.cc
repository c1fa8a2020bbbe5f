#include "cli/run_finetune.h"

#include <fmt/format.h>

#include <csignal>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "base/signals.h"
#include "base/terminal.h"
#include "cli/put.h"
#include "recipe/summary.h"
#include "train/metrics.h"
#include "train/report.h"
#include "train/resume.h"
#include "train/run.h"

namespace lora::cli {

namespace {

// Ctrl-C leaves "^C" behind the bar, so on a terminal the notice begins a line of its own.
constexpr const char* kStopNotice =
    "stopping: the iteration in work is finished or dropped, then all is saved; Ctrl-C again leaves at "
    "once\n";
constexpr const char* kStopNoticeOnTerminal =
    "\nstopping: the iteration in work is finished or dropped, then all is saved;\n"
    "  Ctrl-C again leaves at once\n";

constexpr const char* kStopNoticeOfSeveral =
    "stopping: the iteration in work is finished or dropped, then all is saved, unless mpirun ends it before";

// What --metrics - prints.
class MetricsLog {
 public:
  MetricsLog(FinetuneOptions& options, Progress& progress)
      : progress_(progress), is_on_(options.metrics == "-") {
    if (is_on_) options.metrics.clear();
  }
  // As with a file, a line that cannot be written does not end the run.
  void write(const IterationRecord& record) {
    if (!is_on_) return;
    if (stdout_is_terminal()) progress_.end_bar();
    try {
      print_json_line(to_json(record));
    } catch (const Error& e) {
      progress_.say(fmt::format("warning: --metrics: {}: lines will be missing", e.what()));
      is_on_ = false;
    }
  }

 private:
  Progress& progress_;
  bool is_on_;
};

}  // namespace

FinetuneResult run_finetune(FinetuneOptions options, Progress& progress, bool* has_begun) {
  // Where one of several processes fails, all others are sent a signal before they are ended. So none of them
  // speaks at once: the first does when it looks, if it still does.
  bool is_to_be_said = !options.cluster.is_alone() && options.cluster.is_first();
  catch_stop_signals(!options.cluster.is_alone() ? ""
                     : stderr_is_terminal()      ? kStopNoticeOnTerminal
                                                 : kStopNotice);
  FinetuneEvents events;
  events.should_stop = [&] {
    progress.follow_resize();
    const bool asked = stop_signal() != 0;
    if (asked && std::exchange(is_to_be_said, false)) progress.say(kStopNoticeOfSeveral);
    return asked;
  };
  if (!options.cluster.is_first()) return finetune(options, events);
  events.say = [&](std::string_view text) { progress.say(text); };
  MetricsLog metrics(options, progress);
  events.on_iteration = [&](const IterationRecord& record, int64_t n_iter) {
    if (has_begun != nullptr) *has_begun = true;
    progress.iteration(record, n_iter);
    metrics.write(record);
  };
  events.on_evaluation = [&](int64_t n_done, int64_t n) { progress.evaluation(n_done, n); };
  FinetuneResult result = finetune(options, events);
  progress.end_bar();
  return result;
}

std::string adapter_of(const FinetuneResult& result) {
  return result.best_path.empty() ? result.lora_path : result.best_path;
}

void say_end(Progress& progress, const FinetuneOptions& options, const FinetuneResult& result,
             const std::string& modelfile) {
  const Evaluations& e = result.evaluations;
  progress.say(fmt::format("ended at iteration {}: {}", result.iterations, result.why));
  for (const std::string& line : describe_quality(e, result.best_path)) progress.say(line);
  if (!has_held_out(options))
    progress.say("no samples were held out, so nothing tells how good it became on others");
  if (!e.sample_best.empty() && !result.sample_prompt.empty()) {
    progress.say(fmt::format("given: {}", lora::quoted(result.sample_prompt)));
    if (!e.sample_before.empty())
      progress.say(fmt::format("  before training: {}", lora::quoted(e.sample_before)));
    progress.say(fmt::format("  at its best: {}", lora::quoted(e.sample_best)));
  }
  if (!result.checkpoint_path.empty()) progress.say(fmt::format("checkpoint: {}", result.checkpoint_path));
  if (!result.lora_path.empty()) progress.say(fmt::format("adapter: {}", result.lora_path));
  if (!result.best_path.empty()) {
    progress.say(
        fmt::format("best: {}, with the lowest held-out loss, {:.6f}", result.best_path, e.best.value()));
  }
  if (!result.stopped) {
    if (adapter_of(result).empty()) return;
    progress.say("to use it:");
    for (const Use& use :
         uses_of(options.model_base, adapter_of(result), conversations_of(options, result), modelfile))
      progress.say(fmt::format("  {:<11}{}{}", use.program, use.command,
                               use.note.empty() ? "" : fmt::format("   ({})", use.note)));
  } else if (!result.checkpoint_path.empty()) {
    // Where it would go on from by itself, now that it has saved.
    const bool by_itself = find_checkpoint(options).path == result.checkpoint_path;
    progress.say(by_itself ? "to go on: the same command again"
                           : "to go on: the same command with --checkpoint-in " + result.checkpoint_path);
  }
}

int exit_status(const FinetuneResult& result) {
  if (!result.stopped) return 0;
  return 128 + (stop_signal() != 0 ? stop_signal() : int(SIGTERM));  // another process was asked to
}

}  // namespace lora::cli
