// Shows the samples of a training text as `lora finetune` trains them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/flag.h"
#include "data/samples.h"
#include "tokenizer/tokenizer.h"
#include "train/options.h"

namespace lora::cli {

// The row of finetune's flag table with this main name, which must exist.
Flag finetune_flag(FinetuneOptions& options, std::string_view name);

// Those rows of finetune's table that decide what samples are and how they lie in rows, but for
// --parse-special. Clears options.train_data, so that nothing is shown that was not asked for.
FlagGroup sample_text_flags(FinetuneOptions& options);

// The samples of options.train_data in file order.
Dataset read_samples(const FinetuneOptions& options, const Tokenizer& tokenizer);

// How what is trained on stands out.
struct Marks {
  std::string_view before, after;
  std::string_view special, special_trained;  // before a special token, which shows whose turn it is
};
inline constexpr Marks kPlainMarks{"{+", "+}", "", ""};
inline constexpr Marks kColourMarks{"\x1b[32m", "\x1b[0m", "\x1b[2m", "\x1b[1;32m"};

// A sample that is shown, in file order; where rows are filled with the samples that follow: its row, from 1
// on, and as many of its tokens as find room there.
struct ShownSample {
  int64_t number = 0;  // of [0, data.n_samples())
  int64_t row = 0;     // 0: each sample is a row of its own
  int64_t n_most = 0;
};
// The first n, or all.
std::vector<ShownSample> first_samples(const Dataset& data, const FinetuneOptions& options, int64_t n);

// A header and the text, printable, special tokens spelled out, with marks around what is trained on.
std::string sample_as_text(const Dataset& data, const Tokenizer& tokenizer, const ShownSample& sample,
                           Marks marks);

// The same with a line per input token in place of the text: its id, its piece and, where the token after it
// is trained on, "-> id" and piece of that target, else "-".
std::string sample_as_pieces(const Dataset& data, const Tokenizer& tokenizer, const ShownSample& sample);

// {"samples": [{"inputs": [...], "targets": [...], "text": "..."}], "n_samples": ..., "n_tokens": ...,
// "n_cut": ..., "n_blank": ..., "n_short": ..., "n_bad": ..., "ignored_fields": {NAME: records}}, with "row"
// in each sample where rows are filled; a target of -1 is not trained on, the counts are of the whole text
// (DatasetReport), "text" is the tokens' spelling, special ones included.
std::string samples_as_json(const Dataset& data, const Tokenizer& tokenizer,
                            const std::vector<ShownSample>& samples);

}  // namespace lora::cli
