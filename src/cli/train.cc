// `lora train`: a fine-tuning run with everything chosen from model, data and machine.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <utility>

#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "base/file_status.h"
#include "base/machine.h"
#include "base/path.h"
#include "base/plural.h"
#include "base/process.h"
#include "cli/cluster.h"
#include "cli/commands.h"
#include "cli/finetune_flags.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/plot.h"
#include "cli/progress.h"
#include "cli/put.h"
#include "cli/run_finetune.h"
#include "cli/show_samples.h"
#include "cli/train_files.h"
#include "cli/wrap.h"
#include "recipe/choices.h"
#include "recipe/summary.h"
#include "train/checkpoint.h"
#include "train/estimate.h"
#include "train/run.h"
#include "train/setup.h"

namespace lora::cli {

namespace {

struct TrainOptions {
  FinetuneOptions run;
  Wishes wishes;
  std::string output;
  bool dry_run = false;
};

constexpr const char* kModel = "MODEL";
constexpr const char* kData = "DATA";

Setting quality(Quality& target) {
  static constexpr std::pair<std::string_view, Quality> kWords[] = {
      {"quick", Quality::quick}, {"good", Quality::good}, {"best", Quality::best}};
  return {[&target](const std::vector<std::string>& values) {
            for (const auto& [word, quality] : kWords) {
              if (!equal_in_any_case(word, values.at(0))) continue;
              target = quality;
              return;
            }
            throw BadValue(fmt::format("expected quick, good or best, found '{}'", values[0]));
          },
          [&target] { return std::string(kWords[size_t(target)].first); }};
}

// The flags of finetune, of which two have places.
std::vector<FlagGroup> train_flags(TrainOptions& t) {
  std::vector<FlagGroup> groups = {
      {"Run",
       {
           {kModel, "FILE", "", "GGUF model to train for (--model-base)", non_empty_text(t.run.model_base),
            kRequired, kMain},
           {kData, "FILE...", "", "texts, records, chats, and folders of them (--train-data)",
            texts(t.run.train_data), kRequired, kMain},
           {"-o,--name", "NAME", "",
            "of what is written: NAME.gguf, .md, .svg, .toml, .Modelfile, .jsonl, -last.gguf, "
            "-checkpoint.gguf",
            text(t.output).or_else("DATA without its ending, and -lora"), kOptional, kMain},
           {"--hours", "H", "", "that the run may take at most",
            number(t.wishes.hours, {.min = 0, .above_min = true}), kOptional, kMain},
           {"--quality", "Q", "", "quick, good or best", quality(t.wishes.quality), kOptional, kMain},
           {"--dry-run", "", "", "say what would be done, and show a sample as it would be trained",
            turn(t.dry_run), kOptional, kMain},
       }}};
  const std::vector<std::string> chosen = chosen_flags();
  for (FlagGroup& group : finetune_flags(t.run)) {
    std::erase_if(group.flags, [](const Flag& flag) {
      return main_name(flag) == "--model-base" || main_name(flag) == "--train-data";
    });
    for (Flag& flag : group.flags) {
      if (std::ranges::count(chosen, main_name(flag)) > 0) flag.setting.default_text = "chosen";
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

Given parse(TrainOptions& t, const std::vector<std::string>& args) {
  const CommandLine line = {
      "train", "MODEL.gguf DATA... [-o NAME] [flags]",
      "Trains a LoRA with everything chosen from model, data and machine, each choice said with its reason. "
      "A flag "
      "of finetune that is given stays as it is. The same command goes on where a run was stopped.",
      train_flags(t)};
  Given given = parse_flags(line, args);
  if (given.help) print(help_page(line, given.help_all));
  return given;
}

// "stories" of "data/stories.txt" or "data/stories/".
std::string name_of(const TrainOptions& t) {
  std::string name = t.output;
  if (name.empty()) {
    name = last_part_of(t.run.train_data.at(0), "my");
    if (const size_t dot = name.rfind('.'); dot != name.npos && dot > 0) name.resize(dot);
    return name + "-lora";
  }
  if (name.ends_with(".gguf")) name.resize(name.size() - 5);
  if (name.empty() || is_separator(name.back())) fail("--name: {}: expected a name, not a folder", t.output);
  return name;
}

std::string in_words(double seconds) {
  if (seconds < 90) return count_of(std::max<int64_t>(1, std::llround(seconds)), "second");
  if (seconds < 90 * 60) return fmt::format("{:.0f} minutes", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{:.1f} hours", seconds / 3600);
  return fmt::format("{:.1f} days", seconds / 86400);
}

std::string choice_row(const std::string& value, const std::string& why) {
  constexpr size_t kValue = 34, kWidth = 110;
  std::string gap =
      value.size() + 2 > kValue ? "\n" + std::string(kValue, ' ') : std::string(kValue - value.size(), ' ');
  return "  " + value + gap + wrap(why, kWidth - kValue - 2, kValue + 2) + "\n";
}

// Everything that was found and chosen, with the values.
std::string choices_table(const FinetuneOptions& options, const std::vector<Found>& found,
                          const std::vector<Choice>& choices) {
  std::string table = "data\n";
  for (const Found& f : found) table += choice_row(f.what, f.why);
  table += "chosen\n";
  FinetuneOptions copy = options;
  for (const Choice& choice : choices) {
    std::string values;
    for (const FlagGroup& group : finetune_flags(copy)) {
      for (const Flag& flag : group.flags) {
        const std::string name = main_name(flag);
        if (!choice.sets(name)) continue;
        const std::vector<std::string> now = flag.setting.values_now();
        if (flag.setting.n_values == 0 || now.empty()) continue;
        values += fmt::format("{}{} {}", values.empty() ? "" : " ", name, shell_word(now[0]));
      }
    }
    if (!choice.what.empty()) values = choice.what;
    table += choice_row(values.empty() ? choice.flags : values, choice.why);
  }
  return table;
}

std::vector<std::string> shell_words(const std::vector<std::string>& words) {
  std::vector<std::string> result;
  for (const std::string& word : words) result.push_back(shell_word(word));
  return result;
}

// What was asked for and leaves no trace.
void say_idle(const TrainOptions& t, const Given& given, Progress& progress) {
  for (const std::string& warning : idle_flags(t.run, given)) progress.say(warning);
  for (const char* flag : {"--epochs", "--adam-iter", "--lbfgs-iter"}) {
    if (t.wishes.hours && given.source(flag) != Source::nowhere)
      progress.say(fmt::format("warning: --hours has no effect: {} says how long the run is", flag));
  }
}

// What it takes.
std::string run_table(const Estimate& e) {
  std::string text = "the run\n";
  text += choice_row(in_words(e.total_s),
                     fmt::format("{} of {:.3g} s, {} of {:.3g} s", count_of(e.n_iter, "iteration"),
                                 e.iteration_s, count_of(e.n_evaluations, "evaluation"), e.evaluation_s));
  text +=
      choice_row(format_size(uint64_t(e.memory_bytes)),
                 fmt::format("of memory, beyond the model's {}{}", format_size(uint64_t(e.model_bytes)),
                             e.free_bytes ? fmt::format("; {} are free", format_size(*e.free_bytes)) : ""));
  text += choice_row(
      format_size(uint64_t(e.disk_bytes)),
      fmt::format("of disk{}", e.free_disk ? fmt::format("; {} are free", format_size(*e.free_disk)) : ""));
  return text;
}

// Looks at everything, chooses, and says what will be done. hold() gets the run once it is chosen. Returns
// the settings to be written.
std::string begin(TrainOptions& t, const Given& given, const std::string& command, Progress& progress,
                  const std::function<void(const FinetuneOptions&)>& hold) {
  const auto say = [&](std::string_view line) { progress.say(line); };
  const auto is_given = [&](std::string_view flag) {
    return given.source(std::string(flag)) != Source::nowhere;
  };
  progress.say("looking at model, data and machine");
  FinetuneOptions& run = t.run;
  const std::vector<std::string> as_given = run.train_data;
  const FinetuneOptions with_files = with_data_files(run, say);
  const std::vector<std::string> val_as_given = std::exchange(run.val_data, with_files.val_data);
  run.train_data = with_files.train_data;
  const Model model = load_model(run.model_base, {run.rope_freq_base, run.rope_freq_scale, run.norm_rms_eps});
  network_parts(model, run.pipeline);  // or an error
  const Tokenizer tokenizer(model.gguf);
  ThreadPool pool(run.threads > 0 ? run.threads : physical_cores());
  const Samples samples = find_samples(run, is_given, model, tokenizer, pool);
  Facts facts = gather_facts(samples, model, pool.size());
  std::optional<Estimate> measured;
  std::vector<std::string> said;  // what the run itself would say
  facts.measure = [&](const FinetuneOptions& options) {
    FinetuneOptions from_the_start = options;
    from_the_start.checkpoint_in = "";
    from_the_start.cluster = {};  // the first measures by itself
    said.clear();
    measured = estimate(from_the_start, [&](std::string_view line) { said.emplace_back(line); });
    return *measured;
  };
  const std::vector<Choice> choices = choose(run, facts, t.wishes, is_given);
  expect_consistent(run);
  say_idle(t, given, progress);
  // The last that was measured has all of it, but where its rule was not asked.
  if (!measured || is_given("--save-every")) facts.measure(run);
  const Estimate& e = *measured;
  run.train_data = as_given;
  run.val_data = val_as_given;
  FinetuneOptions to_go_on = run;  // beginning anew is done once
  if (to_go_on.checkpoint_in == "") to_go_on.checkpoint_in = run.checkpoint_out;
  const std::vector<SetFlag> flags = set_flags(to_go_on);
  std::string settings = toml_of(flags, choices, command, t.wishes.name);
  if (run.precision == Precision::automatic && run.cluster.is_alone())
    settings += fmt::format("\n# precision = 'auto' is {} on this machine\n", e.precision);
  hold(run);
  std::string text = choices_table(run, samples.found, choices);
  text += run_table(e);
  text += "a sample as it is trained, between {+ and +} what is learned\n";
  const Dataset shown(with_files.train_data, tokenizer, text_options(run), pool);
  text += sample_as_text(shown, tokenizer, {0, 0, run.n_ctx}, kPlainMarks);
  text += fmt::format("the same as\n  {}\n", command_of(flags));
  if (t.dry_run) {
    for (const std::string& line : said) progress.say(line);
    print(text);
    return settings;
  }
  put(stderr, text);
  if (!has_held_out(run))
    progress.say(
        "warning: no samples are held out, so that nothing will tell how good the adapter becomes on others");
  if (t.wishes.hours && e.total_s > *t.wishes.hours * 3600)
    progress.say(
        fmt::format("warning: --hours {:g}: even so it takes {}", *t.wishes.hours, in_words(e.total_s)));
  return settings;
}

// Whether there is an adapter to hand over.
bool hand_over(const TrainOptions& t, const std::string& command, const FinetuneResult& result,
               Progress& progress) {
  const std::string& name = t.wishes.name;
  const std::string adapter = adapter_of(result);
  if (adapter.empty()) return false;
  Summary summary{name, t.run.model_base, adapter, result, t.run.train_data, conversations_of(t.run, result)};
  summary.command = command;
  summary.modelfile = name + ".Modelfile";
  write_whole(summary.modelfile, modelfile_of(t.run.model_base, adapter));
  if (!t.run.metrics.empty() && t.run.metrics != "-") {
    summary.picture = name + ".svg";
    try {
      draw_runs({t.run.metrics}, summary.picture, {});
    } catch (const Error& e) {
      progress.say(fmt::format("warning: the losses are not drawn: {}", e.what()));
      summary.picture.clear();
    }
  }
  write_whole(name + ".md", markdown(summary));
  return true;
}

// Where other files are in the way, what helps is said in the words of this command.
[[noreturn]] void say_the_ways_out(const Error& e) {
  std::string what = e.what();
  const size_t at = what.find(kWaysOut);
  if (at != what.npos)
    what.replace(at, kWaysOut.size(),
                 "-o NAME begins another run beside it, --checkpoint-in '' anew over it");
  fail("{}", what);
}

// What the flag --config was given, which parse_flags() keeps to itself.
std::string config_of(const std::vector<std::string>& args) {
  constexpr std::string_view kFlag = "--config";
  for (size_t i = 0; i < args.size(); ++i) {
    if (args[i] == kFlag && i + 1 < args.size()) return args[i + 1];
    if (args[i].starts_with("--config=")) return args[i].substr(kFlag.size() + 1);
  }
  return "";
}

void expect_same_run(const FinetuneOptions& asked, const FinetuneOptions& begun, const std::string& toml) {
  const auto expect = [&](const std::vector<std::string>& then, const std::vector<std::string>& now) {
    if (then == now) return;
    fail("{}: it is of a run on {}, not on {}: -o gives this one another name", toml, fmt::join(then, ", "),
         fmt::join(now, ", "));
  };
  expect({begun.model_base}, {asked.model_base});
  expect(begun.train_data, asked.train_data);
}

// The run as it was chosen, for the processes that did not choose it.
void share_run(const FinetuneOptions& run, const Cluster& cluster) {
  std::string words;
  const auto add = [&](const std::string& word) { words += word + '\0'; };
  for (const SetFlag& row : set_flags(run)) {
    if (row.is_switch || row.values.size() > 1) {
      add(row.flag);
      if (!row.is_switch) std::ranges::for_each(row.values, add);
    } else {
      add(row.flag + "=" + row.values[0]);  // which may begin with a dash
    }
  }
  cluster.from_first(words);
}

int run_as_the_first_chose(const Cluster& cluster, Progress& progress) {
  const std::string text = cluster.from_first("");
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size(); at = text.find('\0', at) + 1) words.emplace_back(text.c_str() + at);
  FinetuneOptions run;
  parse_flags({"finetune", "", "", finetune_flags(run)}, words);  // the length is chosen already
  run.cluster = cluster;
  return exit_status(run_finetune(run, progress));
}

}  // namespace

int train_command(const std::vector<std::string>& args) {
  TrainOptions t;
  Given given = parse(t, args);
  if (given.help) return 0;
  const Cluster& cluster = join();
  if (!cluster.is_first()) {
    Progress silent;
    return t.dry_run ? 0 : run_as_the_first_chose(cluster, silent);
  }
  t.run.cluster = cluster;
  if (!t.dry_run || !cluster.is_alone()) make_grid(cluster, t.run.pipeline);  // or an error
  t.wishes.name = name_of(t);
  const std::string& name = t.wishes.name;
  const std::string toml = name + ".toml",
                    old_toml = file_exists(toml) ? std::string(MappedFile(toml).text()) : "";
  const std::string command = fmt::format("lora train {}", fmt::join(shell_words(args), " "));
  Progress progress;
  const auto say = [&](std::string_view line) { progress.say(line); };
  { const MappedFile can_be_opened(t.run.model_base); }
  const bool begins_anew = given.source("--checkpoint-in") != Source::nowhere && t.run.checkpoint_in == "";
  const bool has_config = given.source("--config") != Source::nowhere;
  const std::optional<FinetuneOptions> begun = begins_anew ? std::nullopt : begun_run(name);
  if (begun) expect_same_run(t.run, *begun, toml);
  std::vector<Hold> holds;
  const auto hold = [&](const FinetuneOptions& run) {
    holds = hold_files(name, with_data_files(run, {}), has_config ? config_of(args) : "", run.train_data);
  };
  bool is_new = false;
  if (begun && !has_config) {
    std::vector<std::string> with_settings = args;
    with_settings.insert(with_settings.end(), {"--config", toml});
    given = parse(t, with_settings);
    if (t.run.checkpoint_out != begun->checkpoint_out &&
        given.source("--checkpoint-out") != Source::command_line)
      fail(
          "{}: its settings stand in a section, which this command does not read: remove the line in "
          "brackets",
          toml);
    choose_run_length(t.run, given);
    expect_consistent(t.run);
    progress.say(fmt::format("{}: the settings that this run was begun with", toml));
    for (const char* flag : {"--quality", "--hours"}) {
      if (given.source(flag) != Source::nowhere)
        progress.say(
            fmt::format("warning: {} is not used: this run was begun before; -o NAME begins another", flag));
    }
    if (t.dry_run) {
      t.run.cluster = {};
      print(run_table(estimate(t.run, say)));
      return 0;
    }
    hold(t.run);
  } else {
    choose_run_length(t.run, given);
    if (!begun) expect_free(name, begins_anew);
    { const Hold can_be_written(toml); }  // before much is read
    const std::string settings = begin(t, given, command, progress, hold);
    if (t.dry_run) return 0;
    write_whole(toml, settings);
    is_new = true;
  }
  bool has_begun = false;
  FinetuneResult result;
  share_run(t.run, cluster);
  if (!cluster.is_alone())
    progress.say(fmt::format("note: the times above are of one process; {} share the {} of an iteration",
                             cluster.size(), t.run.pipeline > 1 ? "layers and the batches" : "batches"));
  try {
    result = run_finetune(t.run, progress, &has_begun);
  } catch (const Error& e) {
    if (is_new && !has_begun) old_toml.empty() ? remove_file(toml) : write_whole(toml, old_toml);
    say_the_ways_out(e);
  }
  const bool is_handed_over = !result.stopped && hand_over(t, command, result, progress);
  say_end(progress, t.run, result, name + ".Modelfile");
  if (is_handed_over)
    progress.say(fmt::format("{}.md says all this, {}.toml how it was trained", name, name));
  return exit_status(result);
}

}  // namespace lora::cli
