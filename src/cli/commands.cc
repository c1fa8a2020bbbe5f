#include "cli/commands.h"

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <new>

#include "base/ascii.h"
#include "base/error.h"
#include "base/leftover.h"
#include "base/lost_pages.h"
#include "base/machine.h"
#include "base/signals.h"
#include "base/terminal.h"
#include "cli/aliases.h"
#include "cli/cluster.h"
#include "cli/parse.h"
#include "cli/put.h"
#include "cli/suggest.h"
#include "cli/version.h"
#include "cluster/launch.h"

namespace lora::cli {

namespace {

struct Command {
  const char* name;
  const char* summary;
  int (*run)(const std::vector<std::string>& args);
  bool by_several = false;  // processes, under mpirun
};

constexpr Command kCommands[] = {
    {"train", "train a LoRA on a GGUF model and texts, chats or tables: everything is chosen", train_command,
     true},
    {"finetune", "the same by hand: a flag for everything", finetune_command, true},
    {"generate", "continue a prompt, with any number of LoRAs", generate_command},
    {"eval", "perplexity of a text or of samples", eval_command, true},
    {"inspect", "metadata and tensors of a file", inspect_command},
    {"template", "what a chat template makes of a conversation", template_command},
    {"tokenize", "token ids and pieces of a text", tokenize_command},
    {"bench", "training and generation speed", bench_command},
    {"convert", "Hugging Face folder to GGUF", convert_command},
    {"quantize", "GGUF to a smaller tensor type", quantize_command},
    {"convert-lora", "PEFT or MLX folder or ggla file to adapter GGUF, and back", convert_lora_command},
    {"export-lora", "merge LoRAs into a model", export_lora_command},
    {"imatrix", "importance of each input column, for quantize", imatrix_command},
    {"estimate", "memory and time of a fine-tuning run", estimate_command},
    {"plot", "draw one or more runs: losses, learning rate, speed", plot_command},
};

std::string help() {
  std::string page =
      "lora: fine-tunes GGUF language models with LoRA on an ordinary CPU\n\n"
      "usage: lora COMMAND [flags]\n\nCommands\n";
  for (const Command& c : kCommands) page += fmt::format("  {:<14}{}\n", c.name, c.summary);
  page += "\nlora COMMAND --help lists a command's flags; lora --version [-v] the version and kernel sets.\n";
  return page;
}

int dispatch(const std::vector<std::string>& args) {
  if (args.empty()) throw UsageError("command: missing; lora --help lists the commands");
  const std::string& name = args[0];
  if (name == "help" && args.size() > 1) return dispatch({args[1], "--help"});
  if (name == "-h" || name == "--help" || name == "help") {
    print(help());
    return 0;
  }
  if (name == "--version" || name == "version") {
    const bool verbose = args.size() > 1 && (args[1] == "-v" || args[1] == "--verbose");
    if (args.size() > (verbose ? 2 : 1))
      throw UsageError(fmt::format("'{}': unexpected argument", args.back()));
    print(version_text(verbose));
    return 0;
  }
  for (const Command& c : kCommands) {
    if (name != c.name) continue;
    if (const int n = launch_of_environment().size; n > 1 && !c.by_several)
      throw UsageError(fmt::format("{}: works in one process, and {} were started", name, n));
    return c.run({args.begin() + 1, args.end()});
  }
  if (const CommandAlias* alias = find_command_alias(name)) {
    std::vector<std::string> rest(args.begin(), args.end());
    rest[0] = alias->command;
    if (!alias->flag.empty()) rest.insert(rest.begin() + 1, std::string(alias->flag));
    return dispatch(rest);
  }
  const bool is_flag = name.starts_with("-");
  const std::vector<std::string> known =
      is_flag ? std::vector<std::string>{"--help", "--version"} : command_names();
  std::string hint = command_hint(name);
  if (hint.empty()) {
    const std::string near = nearest(name, known);
    hint = near.empty() ? "lora --help lists those there are" : fmt::format("did you mean {}?", near);
  }
  throw UsageError(fmt::format("{}: unknown {}; {}", name, is_flag ? "flag" : "command", hint));
}

int report(int status, std::string what) {
  std::fflush(stdout);
  // What went wrong with a file that reads as zeros is no error of its own.
  if (const std::string lost = lost_pages(); what.find(lost) == what.npos) what = lost;
  if (!is_silent()) say(stderr, fmt::format("error: {}", what));
  leave_with_error(what);
  return status;
}

}  // namespace

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const Command& c : kCommands) names.emplace_back(c.name);
  return names;
}

std::vector<std::string> with_command(std::string_view program, std::vector<std::string> args) {
  std::string_view name = program.substr(program.find_last_of("/\\") + 1);
  if (ends_in_any_case(name, ".exe")) name.remove_suffix(4);
  const CommandAlias* alias = find_command_alias(lower_case(name));
  if (alias != nullptr && alias->is_program) args.insert(args.begin(), std::string(alias->command));
  return args;
}

int run_program(const std::vector<std::string>& args) {
  open_standard_streams();
  spread_pages();
  ignore_file_size_signal();
  remove_leftovers_on_signals();
  catch_lost_pages();
  try {
    const int status = dispatch(args);
    leave();
    if (const std::string lost = lost_pages(); !lost.empty()) return report(1, lost);
    if (std::fflush(stdout) != 0 || std::ferror(stdout))
      return report(1, "standard output: cannot be written");
    return status;
  } catch (const UsageError& e) {
    return report(2, e.what());
  } catch (const std::bad_alloc&) {
    return report(1, "memory: not enough");
  } catch (const std::exception& e) {
    return report(1, e.what());
  }
}

}  // namespace lora::cli
