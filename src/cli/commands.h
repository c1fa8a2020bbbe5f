// The program: a table of commands, one row each, and what they share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lora::cli {

// Each takes the arguments after its name, writes results to stdout and everything else to stderr,
// and returns the exit status. Errors are thrown: UsageError for wrong usage, else Error.
int train_command(const std::vector<std::string>& args);
int finetune_command(const std::vector<std::string>& args);
int generate_command(const std::vector<std::string>& args);
int eval_command(const std::vector<std::string>& args);
int inspect_command(const std::vector<std::string>& args);
int template_command(const std::vector<std::string>& args);
int tokenize_command(const std::vector<std::string>& args);
int bench_command(const std::vector<std::string>& args);
int estimate_command(const std::vector<std::string>& args);
int plot_command(const std::vector<std::string>& args);
int quantize_command(const std::vector<std::string>& args);
int imatrix_command(const std::vector<std::string>& args);
int export_lora_command(const std::vector<std::string>& args);
int convert_command(const std::vector<std::string>& args);
int convert_lora_command(const std::vector<std::string>& args);

std::vector<std::string> command_names();

// The arguments, with the command before them where the program was started under a command's name: as
// "finetune", "main" (generate), "perplexity" (eval), "quantize" or "export-lora", in any case, with .exe or
// without.
std::vector<std::string> with_command(std::string_view program, std::vector<std::string> args);

// The whole program, errors turned into one line "error: WHAT: WHY" on stderr. Exit status: 0 success,
// 1 the work failed, 2 wrong usage, 128 + signal after a stop by signal.
int run_program(const std::vector<std::string>& args);

}  // namespace lora::cli
