// A fine-tuning run as its user sees it: progress on standard error, signals, what is said at its end.
#pragma once

#include "cli/progress.h"
#include "train/finetune.h"

namespace lora::cli {

// From the first line to the last save; what it has come to is said by say_end(). --metrics - goes to
// standard output.
FinetuneResult run_finetune(FinetuneOptions options, Progress& progress);

// Why it ended, what was written, how good it became, how to go on.
void say_end(Progress& progress, const FinetuneOptions& options, const FinetuneResult& result);

// 0, or that of the signal that stopped it.
int exit_status(const FinetuneResult& result);

}  // namespace lora::cli
