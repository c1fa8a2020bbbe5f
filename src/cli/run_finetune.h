// A fine-tuning run as its user sees it: progress on standard error, signals, what is said at its end.
#pragma once

#include <string>

#include "cli/progress.h"
#include "train/finetune.h"

namespace lora::cli {

// From the first line to the last save; what it has come to is said by say_end(). --metrics - goes to
// standard output.
FinetuneResult run_finetune(FinetuneOptions options, Progress& progress, bool* has_begun = nullptr);

// The best one, where there is one, else the last; "" where none was written.
std::string adapter_of(const FinetuneResult& result);

// Why it ended, what was written, how good it became, how to use it or to go on. `modelfile`: Ollama's, if
// there is one.
void say_end(Progress& progress, const FinetuneOptions& options, const FinetuneResult& result,
             const std::string& modelfile = "");

// 0, or that of the signal that stopped it.
int exit_status(const FinetuneResult& result);

}  // namespace lora::cli
