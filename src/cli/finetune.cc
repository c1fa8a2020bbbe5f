#include "train/finetune.h"

#include "cli/cluster.h"
#include "cli/commands.h"
#include "cli/finetune_flags.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/put.h"
#include "cli/run_finetune.h"

namespace lora::cli {

int finetune_command(const std::vector<std::string>& args) {
  FinetuneOptions options;
  const CommandLine line = {"finetune", "--model-base FILE --train-data FILE... [flags]",
                            "Trains a LoRA on a GGUF model of any tensor type and texts or records, and "
                            "writes an adapter GGUF. `lora "
                            "train` is the same with everything chosen.",
                            finetune_flags(options)};
  const Given given = parse_flags(line, args);
  if (given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  choose_run_length(options, given);
  expect_consistent(options);
  options.cluster = join();
  Progress progress;
  for (const std::string& warning : idle_flags(options, given)) {
    if (options.cluster.is_first()) progress.say(warning);
  }
  const FinetuneResult result = run_finetune(options, progress);
  if (options.cluster.is_first()) say_end(progress, options, result);
  return exit_status(result);
}

}  // namespace lora::cli
