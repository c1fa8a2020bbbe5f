#include <algorithm>
#include <utility>

#include "cli/commands.h"

int main(int argc, char** argv) {
  std::vector<std::string> args(argv + std::min(argc, 1), argv + argc);
  return lora::cli::run_program(lora::cli::with_command(argc > 0 ? argv[0] : "", std::move(args)));
}
