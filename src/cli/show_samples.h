// Shows the samples of a training text as `lora finetune` trains them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cli/flag.h"
#include "data/samples.h"
#include "tokenizer/tokenizer.h"
#include "train/options.h"

namespace lora::cli {

// The row of finetune's flag table with this main name, which must exist.
Flag finetune_flag(FinetuneOptions& options, std::string_view name);

// Those rows of finetune's table that decide what a sample is, but for --parse-special. Clears
// options.train_data, so that nothing is shown that was not asked for.
FlagGroup sample_text_flags(FinetuneOptions& options);

// The samples of options.train_data in file order.
Dataset read_samples(const FinetuneOptions& options, const Tokenizer& tokenizer);

// How what is trained on stands out.
struct Marks {
  std::string_view before, after;
};
inline constexpr Marks kPlainMarks{"{+", "+}"}, kColourMarks{"\x1b[32m", "\x1b[0m"};

// Sample i of [0, data.n_samples()): a header and the text, special tokens spelled out, with marks around
// what is trained on.
std::string sample_as_text(const Dataset& data, const Tokenizer& tokenizer, int64_t i, Marks marks);

// The same with a line per input token in place of the text: its id, its piece and, where the token after it
// is trained on, "-> id" and piece of that target, else "-".
std::string sample_as_pieces(const Dataset& data, const Tokenizer& tokenizer, int64_t i);

// The first n samples, n <= data.n_samples():
// {"samples": [{"inputs": [...], "targets": [...], "text": "..."}], "n_samples": ..., "n_tokens": ...,
// "n_cut": ..., "n_blank": ..., "n_short": ..., "n_bad": ...}; a target of -1 is not trained on, the counts
// are of the whole text (DatasetReport), "text" is the tokens' spelling, special ones included.
std::string samples_as_json(const Dataset& data, const Tokenizer& tokenizer, int64_t n);

}  // namespace lora::cli
