#include "cli/train_files.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "base/process.h"
#include "base/same_file.h"
#include "cli/finetune_flags.h"
#include "cli/parse.h"
#include "recipe/summary.h"
#include "train/outputs.h"
#include "train/resume.h"

namespace lora::cli {

namespace {

constexpr std::string_view kHead = "# lora train: ";

bool is_settings_of_train(const std::string& path) {
  if (!file_exists(path)) return false;
  const MappedFile file(path);
  return file.text().starts_with(kHead);
}

struct Named {
  std::string flag, path;
};

// Whatever a run reads or writes itself.
std::vector<Named> run_files(const FinetuneOptions& run, const std::string& config) {
  std::vector<Named> files = {
      {"MODEL", run.model_base},
      {"--lora-init", run.lora_init},
      {"--card", run.card},
      {"--config", config},
      {"--metrics", run.metrics},
      {"--chat-template", is_template_file(run.chat_template) ? run.chat_template : ""},
      {"--best-out", run.save_best ? best_path(run) : ""}};
  for (const std::string& path : run.train_data) files.push_back({"DATA", path});
  for (const std::string& path : run.val_data) files.push_back({"--val-data", path});
  for (const auto& [flag, name] :
       {Named{"--lora-out", run.lora_out}, Named{"--checkpoint-out", run.checkpoint_out}}) {
    for (const std::string& path : output_paths(run, name, 0)) files.push_back({flag, path});
  }
  std::erase_if(files, [](const Named& file) { return file.path.empty(); });
  return files;
}

// In quotes that it does not have itself, since what --config reads has no escapes; nullopt: no quotes hold
// it.
std::optional<std::string> toml_value(const std::string& text) {
  if (is_number(text)) return text;
  if (text.find_first_of("\r\n") != text.npos || text.starts_with('[') || text.ends_with('\\'))
    return std::nullopt;
  for (const char quote : {'\'', '"'}) {
    if (text.find(quote) == text.npos) return quote + text + quote;
  }
  return std::nullopt;
}

}  // namespace

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

std::string toml_of(const std::vector<SetFlag>& flags, const std::vector<Choice>& choices,
                    const std::string& command, const std::string& name) {
  std::string toml = fmt::format("{}{}\n# The same run: lora finetune --config {}.toml\n", kHead,
                                 printable(command, command.size()), printable(name));
  std::vector<bool> is_said(choices.size());
  for (const SetFlag& row : flags) {
    for (size_t i = 0; i < choices.size(); ++i) {
      if (is_said[i] || !choices[i].sets(row.flag)) continue;
      toml += fmt::format("\n# {}\n", choices[i].why);
      is_said[i] = true;
    }
    std::vector<std::string> values;
    for (const std::string& value : row.values) {
      const std::optional<std::string> written = row.is_switch ? "true" : toml_value(value);
      if (written) values.push_back(*written);
      if (!written && (row.flag == "--model-base" || row.flag == "--train-data"))
        fail(
            "{}: '{}': a settings file holds no name with a line end, with quotes of both kinds or that "
            "begins with [",
            row.flag, printable(value));
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

std::optional<FinetuneOptions> begun_run(const std::string& name) {
  const std::string toml = name + ".toml";
  if (!is_settings_of_train(toml)) return std::nullopt;
  FinetuneOptions begun;
  parse_flags({"finetune", "", "", finetune_flags(begun)}, {"--config", toml});
  if (find_checkpoint(begun).path.empty()) return std::nullopt;
  return begun;
}

void expect_free(const std::string& name, bool begins_anew) {
  const bool is_ours = is_settings_of_train(name + ".toml");
  const auto expect_none = [&](const char* ending, const char* way) {
    const std::string path = name + ending;
    if (file_exists(path))
      fail("{}: is there already, and not of a run to go on with: -o gives this one another name{}", path,
           way);
  };
  for (const char* ending : {".toml", ".md", ".svg", ".Modelfile"}) {
    if (!is_ours) expect_none(ending, "");
  }
  for (const char* ending : {".gguf", "-last.gguf", "-checkpoint.gguf", ".jsonl"}) {
    if (!begins_anew) expect_none(ending, ", --checkpoint-in '' begins anew over it");
  }
}

std::vector<Hold> hold_files(const std::string& name, const FinetuneOptions& run, const std::string& config,
                             const std::vector<std::string>& folders) {
  std::vector<Hold> holds;
  for (const char* ending : {".toml", ".md", ".svg", ".Modelfile"}) {
    const std::string path = name + ending;
    for (const Named& file : run_files(run, config)) {
      if (!replaced_by(path, file.path).empty())
        fail("{}: is the file of {}, and would be written over: -o gives the run another name", path,
             file.flag);
    }
    holds.emplace_back(path);
  }
  for (const std::string& folder : folders) {
    if (!run.metrics.empty() && run.metrics != "-" && lies_in(run.metrics, folder))
      fail("--metrics: {}: lies in {}, where it would be read as data: -o with a name elsewhere", run.metrics,
           folder);
  }
  return holds;
}

void write_whole(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace lora::cli
