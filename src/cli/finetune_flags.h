// The flags of `lora finetune`, one row each.
#pragma once

#include <string>
#include <vector>

#include "cli/flag.h"
#include "cli/parse.h"
#include "train/options.h"

namespace lora::cli {

// How raw text becomes samples: for finetune, and for tokenize to show them.
FlagGroup sample_flags(FinetuneOptions& options);

// Those of them with these main names, as one group.
FlagGroup finetune_flags(FinetuneOptions& options, std::string title, const std::vector<std::string>& names);

std::vector<FlagGroup> finetune_flags(FinetuneOptions& options);

// Of flags that exclude each other (--epochs, --adam-iter, --lbfgs-iter), the command line's wins over the
// config file's. Throws UsageError if both are given in the same place.
void choose_run_length(FinetuneOptions& options, const Given& given);

// Throws UsageError for flags that contradict each other.
void expect_consistent(const FinetuneOptions& options);

// A warning for each flag of the command line that has no effect beside the others.
std::vector<std::string> idle_flags(const FinetuneOptions& options, const Given& given);

}  // namespace lora::cli
