#include <fmt/format.h>

#include "base/path.h"
#include "base/same_file.h"
#include "base/signals.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/model_flags.h"
#include "cli/progress.h"
#include "cli/put.h"
#include "convert/collect_imatrix.h"

namespace lora::cli {

int imatrix_command(const std::vector<std::string>& args) {
  EvalOptions options;
  TextSource source;
  std::string out = "imatrix.gguf";
  const CommandLine line = {
      "imatrix",
      "--model FILE --file FILE [--output FILE] [flags]",
      "Importance of each input column of the model's weights: the mean square of what goes into it, over a "
      "text. `lora quantize --imatrix` and llama.cpp read the file.",
      {text_flags(source),
       model_flags(options, options.n_ctx, 2, ""),
       {"Output", {{"-o,--output", "FILE", "", "what to write", non_empty_text(out)}}}}};
  const Given given = parse_flags(line, args);
  if (given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  catch_stop_signals();
  const Hold hold = hold_new(out, std::vector{options.model, source.file},
                             [](std::string_view said) { say(stderr, said); });
  options.text = read_text(source, given, LineEnds::unix);

  Imatrix imatrix;
  imatrix.datasets = {source.file.empty() ? "prompt" : split_path(source.file).second};
  EvalResult result;
  {
    Progress progress;
    result = collect_imatrix(imatrix, options, progress.eval_events());
  }
  if (imatrix.n_chunks == 0) {
    say(stderr, fmt::format("stopped before the first window was done; {} was not written", out));
    return 128 + stop_signal();
  }
  write_imatrix(imatrix, out);
  say(stderr, fmt::format("{}{}: {} tensors, {} windows, {} tokens, perplexity {:.4f}",
                          result.stopped ? "stopped; " : "", out, imatrix.entries.size(), imatrix.n_chunks,
                          result.tokens, result.perplexity));
  return result.stopped && stop_signal() != 0 ? 128 + stop_signal() : 0;
}

}  // namespace lora::cli
