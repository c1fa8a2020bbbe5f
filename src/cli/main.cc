#include "base/process.h"
#include "cli/commands.h"

int main(int argc, char** argv) {
  std::vector<std::string> args = lora::arguments(argc, argv);
  const std::string program = args.empty() ? "" : args[0];
  if (!args.empty()) args.erase(args.begin());
  return lora::cli::run_program(lora::cli::with_command(program, std::move(args)));
}
