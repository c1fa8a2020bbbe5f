#include <fmt/format.h>

#include <algorithm>

#include "base/ascii.h"
#include "base/printable.h"
#include "base/signals.h"
#include "base/timing.h"
#include "cli/commands.h"
#include "cli/fallback.h"
#include "cli/help.h"
#include "cli/model_flags.h"
#include "cli/parse.h"
#include "cli/progress.h"
#include "cli/put.h"
#include "convert/merge.h"

namespace lora::cli {

namespace {

CommandLine export_line(MergeOptions& o, bool& verbose) {
  std::vector<Flag> adapters = lora_flags(o.loras);
  adapters.push_back({"--checkpoint", "FILE", "",
                      "of lora finetune: all that it trained, norms included, in place of its adapter file",
                      non_empty_text(o.checkpoint)});
  for (const Flag& flag : rope_flags(o.rope_freq_base, o.rope_freq_scale)) adapters.push_back(flag);
  return {
      "export-lora",
      "--model-base FILE --model-out FILE [--lora FILE]... [flags]",
      "Merges adapters into a model, so that any program runs the result without them. Tensors that no "
      "adapter changes are copied as they are, and so is the metadata, apart from rotary settings that an "
      "adapter was trained with.",
      {{"Files",
        {{"-m,--model-base,--model", "FILE", "",
          "model GGUF, any supported tensor type; any part of a split one", non_empty_text(o.base), true},
         {"-o,--model-out", "FILE", "", "the file to write", non_empty_text(o.out), true}}},
       {"Adapters", adapters},
       {"Types",
        {{"--outtype", "TYPE", "",
          "of the tensors that change: keep (each its own) or a type of lora quantize; the others stay as "
          "they are",
          mix(o.mix, true)}}},
       {"Performance",
        {{"-t,--threads", "N", "", "threads to compute with",
          integer(o.threads, 1, kMaxThreads).or_else("physical cores")}}},
       {"Report", {{"--verbose", "", "", "every tensor that changes", turn(verbose)}}}}};
}

std::string percent(double part) {
  return fmt::format("{:.{}f}%", 100 * part, part < 0.1 ? 2 : 1);
}

// "change 5.11%, rounding 0.52% of the weights; 99.9% of the change is kept"
std::string facts_of(const RewriteSums& sums) {
  return fmt::format("change {}, rounding {} of the weights; {} of the change is kept",
                     percent(sums.relative_change()), percent(sums.relative_error()), percent(sums.kept()));
}

}  // namespace

int export_lora_command(const std::vector<std::string>& args) {
  MergeOptions options;
  bool verbose = false;
  const CommandLine line = export_line(options, verbose);
  if (const Given given = parse_flags(line, args); given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  if (options.loras.empty() && options.checkpoint.empty())
    throw UsageError("--lora: required, or --lora-scaled or --checkpoint");
  catch_stop_signals();

  const Clock::time_point begin = Clock::now();
  MergeResult result;
  Fallbacks fallbacks;
  {
    Progress progress;
    MergeEvents events;
    events.say = [&](std::string_view text) { progress.say(text); };
    events.on_changed = [&](const MergedTensor& t) {
      if (t.to != t.wanted) fallbacks.add(t.shape, t.wanted, t.to);
      if (!verbose) return;
      std::string types(traits(t.from).name);
      if (t.to != t.from) types += fmt::format(" -> {}", traits(t.to).name);
      progress.say(
          fmt::format("{:<32} {:>14}  {:<14} {}", printable(t.name), t.shape, types, facts_of(t.sums)));
    };
    events.on_progress = [&](uint64_t done, uint64_t total) { progress.bytes(done, total); };
    events.should_stop = [] { return stop_signal() != 0; };
    result = merge(options, events);
  }
  if (result.stopped) {
    say(stderr, fmt::format("stopped; {} was not written", options.out));
    return 128 + stop_signal();
  }
  const double s = std::max(1e-9, seconds_since(begin));
  say(stderr, fmt::format("{}: {} of {} tensors changed, {:.2f} MB, {:.2f} s, {:.0f} MB/s", options.out,
                          result.n_changed, result.n_tensors, double(result.bytes_after) / 1e6, s,
                          double(result.bytes_before) / 1e6 / s));
  for (const std::string& text : fallbacks.lines()) say(stderr, text);
  if (result.n_changed > 0) say(stderr, facts_of(result.sums));
  if (result.n_lossy > 0) {
    say(stderr,
        fmt::format(
            "warning: {} of {} changed tensors lose more than {:.0f}% of the change, since their type rounds "
            "it away{}",
            result.n_lossy, result.n_changed, 100 * (1 - kKept),
            result.advice ? fmt::format("; --outtype {} keeps it", lower_case(traits(*result.advice).name))
                          : ""));
  }
  return 0;
}

}  // namespace lora::cli
