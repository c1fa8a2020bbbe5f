// What of a text is not trained on as its owner would expect: a mark that is not in it, samples that are cut.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "data/sample_options.h"
#include "train/options.h"

namespace lora {

struct CutText {
  std::string what, ways;  // "WHAT: WHY" and the ways out; both empty: nothing to complain of
};
// Of a text that --sample-start cuts, where that does not occur in one of its files or where more than half
// of the tokens are cut off at the context. `flag`: where the text came from, --train-data or --val-data.
CutText cut_text(const FinetuneOptions& options, const DatasetReport& report, const std::string& flag,
                 int64_t n_ctx_train = std::numeric_limits<int64_t>::max());

// Throws Error of it unless options.allow_cut.
void expect_whole(const FinetuneOptions& options, const DatasetReport& report, const std::string& flag,
                  int64_t n_ctx_train);

}  // namespace lora
