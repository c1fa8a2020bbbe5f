// `lora train`: a fine-tuning run with everything chosen from model, data and machine.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/path.h"
#include "base/plural.h"
#include "base/printable.h"
#include "base/same_file.h"
#include "cli/commands.h"
#include "cli/finetune_flags.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/plot.h"
#include "cli/progress.h"
#include "cli/put.h"
#include "cli/run_finetune.h"
#include "cli/show_samples.h"
#include "cli/wrap.h"
#include "recipe/choices.h"
#include "recipe/summary.h"
#include "train/checkpoint.h"
#include "train/estimate.h"
#include "train/resume.h"
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

// What is set otherwise than finetune has it by itself: its flag and values, a switch without one.
struct SetFlag {
  std::string flag;
  std::vector<std::string> values;
  bool is_switch = false;
};

std::vector<SetFlag> set_flags(const FinetuneOptions& options) {
  FinetuneOptions set = options, usual;
  std::vector<SetFlag> result;
  const std::vector<FlagGroup> groups = finetune_flags(set), defaults = finetune_flags(usual);
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t i = 0; i < groups[g].flags.size(); ++i) {
      const Setting& setting = groups[g].flags[i].setting;
      std::vector<std::string> values = setting.values_now();
      const bool is_switch = setting.n_values == 0;
      if (values == defaults[g].flags[i].setting.values_now() || values.empty()) continue;
      if (is_switch && values[0] == "off") continue;  // its opposite is on
      result.push_back({main_name(groups[g].flags[i]), std::move(values), is_switch});
    }
  }
  return result;
}

std::string command_of(const std::vector<SetFlag>& flags) {
  std::string command = "lora finetune";
  for (const SetFlag& row : flags) {
    command += " " + row.flag;
    for (const std::string& value : row.values) {
      if (!row.is_switch) command += " " + shell_word(value);
    }
  }
  return command;
}

// In quotes that it does not have itself, since what --config reads has no escapes; nullopt: no quotes hold
// it.
std::optional<std::string> toml_value(const std::string& text) {
  if (is_number(text)) return text;
  if (text.find_first_of("\r\n") != text.npos || text.ends_with('\\')) return std::nullopt;
  for (const char quote : {'\'', '"'}) {
    if (text.find(quote) == text.npos) return quote + text + quote;
  }
  return std::nullopt;
}

constexpr const char* kTomlBegins = "# lora train ";  // by which it is known

// What --config takes: each flag below why it was chosen. `command` begins with "lora train ".
std::string toml_of(const std::vector<SetFlag>& flags, const std::vector<Choice>& choices,
                    const std::string& command, const std::string& name) {
  std::string toml = fmt::format("# {}\n# The same run: lora finetune --config {}\n",
                                 printable(command, command.size()), shell_word(name + ".toml"));
  for (const SetFlag& row : flags) {
    for (const Choice& choice : choices) {
      if (choice.flags == row.flag || choice.flags.starts_with(row.flag + " "))
        toml += fmt::format("\n# {}\n", choice.why);
    }
    std::vector<std::string> values;
    for (const std::string& value : row.values) {
      const std::optional<std::string> written = row.is_switch ? "true" : toml_value(value);
      if (written) values.push_back(*written);
    }
    if (values.size() < row.values.size()) {
      toml += fmt::format("# {}: a value that this file cannot hold; the command line can\n", row.flag);
      continue;
    }
    const bool is_list = values.size() > 1;
    toml += fmt::format("{} = {}{}{}\n", row.flag.substr(2), is_list ? "[" : "", fmt::join(values, ", "),
                        is_list ? "]" : "");
  }
  return toml;
}

void write_whole(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
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
  if (name.empty() || name.back() == '/') fail("--name: {}: expected a name, not a folder", t.output);
  return name;
}

std::string modelfile_of_run(const std::string& name) {
  return name + ".Modelfile";
}

bool is_of_train(const std::string& toml) {
  return file_exists(toml) && MappedFile(toml).text().starts_with(kTomlBegins);
}

FinetuneOptions options_in(const std::string& toml) {
  FinetuneOptions options;
  parse_flags({"finetune", "", "", finetune_flags(options)}, {"--config", toml});
  return options;
}

// Where the run was begun, its settings are taken from what it wrote then.
bool goes_on(const TrainOptions& t, const Given& given) {
  const std::string toml = t.wishes.name + ".toml";
  const bool begins_anew = given.source("--checkpoint-in") != Source::nowhere && t.run.checkpoint_in == "";
  if (begins_anew || given.source("--config") != Source::nowhere || !is_of_train(toml)) return false;
  FinetuneOptions begun = options_in(toml);
  if (t.run.checkpoint_in) begun.checkpoint_in = t.run.checkpoint_in;
  return file_exists(find_checkpoint(begun).path);
}

// Of what is written beside an adapter: what the run was begun on is what is asked for now.
void expect_same_run(const FinetuneOptions& asked, const std::string& toml) {
  const FinetuneOptions begun = options_in(toml);
  const auto expect = [&](const std::vector<std::string>& then, const std::vector<std::string>& now) {
    if (then == now) return;
    fail("{}: it is of a run on {}, not on {}: -o gives this one another name", toml, fmt::join(then, ", "),
         fmt::join(now, ", "));
  };
  expect({begun.model_base}, {asked.model_base});
  expect(begun.train_data, asked.train_data);
}

// Files of other runs, or of other programs, are not written over.
void expect_free(const TrainOptions& t) {
  if (t.run.checkpoint_in == "") return;
  for (const char* ending :
       {".gguf", "-last.gguf", "-checkpoint.gguf", ".jsonl", ".toml", ".md", ".svg", ".Modelfile"}) {
    const std::string path = t.wishes.name + ending;
    if (file_exists(path) && !(path.ends_with(".toml") && is_of_train(path)))
      fail(
          "{}: is there already, and not of a run to go on with: -o gives this one another name, "
          "--checkpoint-in '' "
          "begins anew over it",
          path);
  }
}

// What is read stays as it is, even where a run begins anew, and is the same when the run goes on. The files
// of a finetune run look after themselves.
void expect_data_spared(const FinetuneOptions& run, const std::vector<std::string>& data,
                        const std::string& name) {
  std::vector<std::string> inputs = {run.model_base, run.lora_init, run.card};
  for (const auto& files : {run.train_data, run.val_data})
    std::ranges::copy(files, std::back_inserter(inputs));
  for (const char* ending : {".toml", ".md", ".svg", ".Modelfile"}) expect_new(name + ending, inputs);
  namespace fs = std::filesystem;
  for (const std::string& folder : data) {
    if (run.metrics.empty() || run.metrics == "-" || !is_directory(folder)) continue;
    const fs::path inside =
        fs::weakly_canonical(run.metrics).lexically_relative(fs::weakly_canonical(folder));
    if (!inside.empty() && *inside.begin() != "..")
      fail("{}: lies in {}, where it would be read as data the next time: -o gives the run another place",
           run.metrics, folder);
  }
}

// What was asked for and leaves no trace.
void say_idle(const TrainOptions& t, const Given& given, Progress& progress) {
  for (const std::string& warning : idle_flags(t.run, given)) progress.say(warning);
  for (const char* flag : {"--epochs", "--adam-iter", "--lbfgs-iter"}) {
    if (t.wishes.hours && given.source(flag) != Source::nowhere)
      progress.say(fmt::format("warning: --hours has no effect: {} says how long the run is", flag));
  }
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
        if ((" " + choice.flags + " ").find(" " + name + " ") == std::string::npos) continue;
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

// Looks at everything, chooses, and says what will be done. False: that was all that was asked for.
bool begin(TrainOptions& t, const Given& given, const std::string& command, Progress& progress) {
  const auto say = [&](std::string_view line) { progress.say(line); };
  const auto is_given = [&](std::string_view flag) {
    return given.source(std::string(flag)) != Source::nowhere;
  };
  expect_free(t);
  const AtomicFile can_be_created(t.wishes.name + ".toml");  // and is gone again
  progress.say("looking at model, data and machine");
  FinetuneOptions& run = t.run;
  const std::vector<std::string> as_given = run.train_data;
  const FinetuneOptions with_files = with_data_files(run, say);
  const std::vector<std::string> val_as_given = std::exchange(run.val_data, with_files.val_data);
  run.train_data = with_files.train_data;
  const Model model = load_model(run.model_base, {run.rope_freq_base, run.rope_freq_scale, run.norm_rms_eps});
  const Tokenizer tokenizer(model.gguf);
  ThreadPool pool(run.threads > 0 ? run.threads : physical_cores());
  const Samples samples = find_samples(run, is_given, model, tokenizer, pool);
  Facts facts = gather_facts(samples, model, pool.size());
  std::optional<Estimate> measured;
  std::vector<std::string> said;  // what the run itself would say
  facts.measure = [&](const FinetuneOptions& options) {
    FinetuneOptions from_the_start = options;
    from_the_start.checkpoint_in = "";
    said.clear();
    measured = estimate(from_the_start, [&](std::string_view line) { said.emplace_back(line); });
    return *measured;
  };
  const std::vector<Choice> choices = choose(run, facts, t.wishes, is_given);
  expect_consistent(run);
  expect_data_spared(run, as_given, t.wishes.name);
  say_idle(t, given, progress);
  // The last that was measured has all of it, but where its rule was not asked.
  if (!measured || is_given("--save-every")) facts.measure(run);
  const Estimate& e = *measured;
  run.train_data = as_given;
  run.val_data = val_as_given;
  FinetuneOptions to_go_on = run;  // beginning anew is done once
  if (to_go_on.checkpoint_in == "") to_go_on.checkpoint_in = run.checkpoint_out;
  const std::vector<SetFlag> flags = set_flags(to_go_on);
  std::string text = choices_table(run, samples.found, choices);
  text += run_table(e);
  text += "a sample as it is trained, between {+ and +} what is learned\n";
  const Dataset shown(with_files.train_data, tokenizer, text_options(run), pool);
  text += sample_as_text(shown, tokenizer, {0, 0, run.n_ctx}, kPlainMarks);
  text += fmt::format("the same as\n  {}\n", command_of(flags));
  if (t.dry_run) {
    for (const std::string& line : said) progress.say(line);
    print(text);
    return false;
  }
  put(stderr, text);
  if (run.val_split <= 0 && run.val_data.empty())
    progress.say(
        "warning: no samples are held out, so that nothing will tell how good the adapter becomes on others");
  if (t.wishes.hours && e.total_s > *t.wishes.hours * 3600)
    progress.say(
        fmt::format("warning: --hours {:g}: even so it takes {}", *t.wishes.hours, in_words(e.total_s)));
  write_whole(t.wishes.name + ".toml", toml_of(flags, choices, command, t.wishes.name));
  return true;
}

// Whether there is an adapter to hand over.
bool hand_over(const TrainOptions& t, const std::string& command, const FinetuneResult& result,
               Progress& progress) {
  const std::string& name = t.wishes.name;
  const std::string adapter = adapter_of(result);
  if (adapter.empty()) return false;
  Summary summary{name, t.run.model_base, adapter, result, t.run.train_data, conversations_of(t.run, result)};
  summary.command = command;
  summary.modelfile = modelfile_of_run(name);
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
FinetuneResult run_or_name_the_ways_out(const FinetuneOptions& options, Progress& progress) {
  try {
    return run_finetune(options, progress);
  } catch (const Error& e) {
    std::string what = e.what();
    const size_t at = what.find(kWaysOut);
    if (at == what.npos) throw;
    fail("{}", what.replace(at, kWaysOut.size(),
                            "-o NAME begins another run beside it, --checkpoint-in '' anew over it"));
  }
}

}  // namespace

int train_command(const std::vector<std::string>& args) {
  TrainOptions t;
  Given given = parse(t, args);
  if (given.help) return 0;
  t.wishes.name = name_of(t);
  const std::string name = t.wishes.name, toml = name + ".toml";
  const std::string command = fmt::format("lora train {}", fmt::join(shell_words(args), " "));
  Progress progress;
  if (goes_on(t, given)) {
    const MappedFile can_be_opened(t.run.model_base);
    expect_same_run(t.run, toml);
    std::vector<std::string> with_settings = args;
    with_settings.insert(with_settings.end(), {"--config", toml});
    given = parse(t, with_settings);
    choose_run_length(t.run, given);
    expect_consistent(t.run);
    progress.say(fmt::format("{}: the settings that this run was begun with", toml));
    for (const char* flag : {"--quality", "--hours"}) {
      if (given.source(flag) != Source::nowhere)
        progress.say(
            fmt::format("warning: {} is not used: this run was begun before; -o NAME begins another", flag));
    }
    if (t.dry_run) {
      print(run_table(estimate(t.run, [&](std::string_view line) { progress.say(line); })));
      return 0;
    }
  } else {
    choose_run_length(t.run, given);
    if (!begin(t, given, command, progress)) return 0;
  }
  const FinetuneResult result = run_or_name_the_ways_out(t.run, progress);
  const bool is_handed_over = !result.stopped && hand_over(t, command, result, progress);
  say_end(progress, t.run, result, modelfile_of_run(name));
  if (is_handed_over)
    progress.say(fmt::format("{}.md says all this, {}.toml how it was trained", name, name));
  return exit_status(result);
}

}  // namespace lora::cli
