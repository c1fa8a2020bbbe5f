// What generate and eval have in common on the command line.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/flag.h"
#include "cli/parse.h"
#include "generate/options.h"

namespace lora::cli {

// Model, adapters, threads, precision, rotary settings, and the context length with its default in words
// ("" to show the number). of_samples: whether training data can be evaluated, in training's precisions.
FlagGroup model_flags(ModelOptions& options, int64_t& n_ctx, int64_t min_ctx, const std::string& default_ctx,
                      bool of_samples = false);

// The rows of it that others have, too.
std::vector<Flag> lora_flags(std::vector<LoraFile>& loras);
std::vector<Flag> rope_flags(std::optional<double>& freq_base, std::optional<double>& freq_scale);

// -p TEXT and -f FILE, of which exactly one must be given.
struct TextSource {
  std::string prompt, file;
};
FlagGroup text_flags(TextSource& source);
// Whether the samples of --train-data are asked for, and not the text of -p or -f. Throws UsageError for
// neither or both.
bool wants_samples(const Given& given);
// Throws UsageError "FLAG: WHY" for one on the command line: flags that change nothing of what is asked for
// are a misunderstanding. A config file may hold both kinds.
void refuse_flags(const std::vector<Flag>& flags, const Given& given, const char* why);
enum class LineEnds {
  as_they_are,  // to show how a text is read
  unix,         // as in training: "\r\n" as "\n", no byte order mark
};
std::string read_text(const TextSource& source, const Given& given, LineEnds line_ends);

}  // namespace lora::cli
