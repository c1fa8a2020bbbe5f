#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/signals.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/model_flags.h"
#include "cli/progress.h"
#include "cli/put.h"
#include "generate/evaluate.h"

namespace lora::cli {

int eval_command(const std::vector<std::string>& args) {
  EvalOptions options;
  TextSource source;
  bool json = false;
  const CommandLine line = {
      "eval",
      "--model FILE --file FILE [--lora FILE]... [flags]",
      "Mean negative log-likelihood per token and perplexity of a text, over consecutive windows.",
      {text_flags(source),
       model_flags(options, options.n_ctx, 2, ""),
       {"Output", {{"--json", "", "", R"(print {"nll", "perplexity", "tokens"})", turn(json)}}}}};
  const Given given = parse_flags(line, args);
  if (given.help) {
    print(help_page(line));
    return 0;
  }
  options.text = read_text(source, given, LineEnds::unix);
  catch_stop_signals();

  EvalResult result;
  {
    Progress progress;
    result = evaluate(options, progress.eval_events());
  }
  if (result.stopped && stop_signal() != 0) {
    put(stderr, fmt::format("stopped after {} tokens: nll {:.6f} perplexity {:.6f}\n", result.tokens,
                            result.nll, result.perplexity));
    return 128 + stop_signal();
  }
  if (json) {
    const nlohmann::ordered_json figures = {
        {"nll", result.nll}, {"perplexity", result.perplexity}, {"tokens", result.tokens}};
    print_json(figures.dump() + "\n");
  } else {
    print(fmt::format("nll        {:.6f}\nperplexity {:.6f}\ntokens     {}\n", result.nll, result.perplexity,
                      result.tokens));
  }
  return 0;
}

}  // namespace lora::cli
