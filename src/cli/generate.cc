#include "generate/generate.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/signals.h"
#include "base/terminal.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/model_flags.h"

namespace lora::cli {

namespace {

FlagGroup sampling_flags(GenerateOptions& o, bool& chat) {
  SamplerOptions& s = o.sampler;
  constexpr NumberRange at_least_zero{.min = 0};
  constexpr NumberRange fraction{.min = 0, .max = 1};
  constexpr NumberRange above_zero{.min = 0, .above_min = true};
  return {
      "Generation",
      {
          {now, "-n,--n-predict", "N", "tokens",
           "length of the continuation; -1: until the model ends it or the context is full",
           integer(o.n_predict, -1)},
          {now, "--temp", "F", "", "temperature; 0: always the likeliest token",
           number(s.temp, at_least_zero)},
          {now, "--top-k", "N", "", "sample from so many of the likeliest tokens; 0: all",
           integer(s.top_k, 0)},
          {now, "--top-p", "F", "", "sample from the likeliest tokens that have this probability together",
           number(s.top_p, fraction)},
          {now, "--min-p", "F", "", "sample from tokens with at least this part of the highest probability",
           number(s.min_p, fraction)},
          {now, "--repeat-penalty", "F", "", "against the last 64 tokens; 1: none",
           number(s.repeat_penalty, above_zero)},
          {now, "-s,--seed", "N", "", "one seed, one text; -1: random",
           integer(o.seed, -1, std::numeric_limits<int64_t>::max())},
          {now, "--stop", "TEXT", "", "end before this text; may be repeated", texts(o.stop)},
          {now, "--ignore-eos", "", "", "go on where the model would end the text", turn(o.ignore_eos)},
          {now, "--no-echo", "", "", "print the continuation alone", turn(o.echo, false)},
          {later, "--chat", "", "", "converse through the model's chat template", turn(chat)},
      },
  };
}

const char* describe(GenerateEnd end) {
  switch (end) {
    case GenerateEnd::n_predict:
      return "as many tokens as asked for";
    case GenerateEnd::end_token:
      return "the model ended the text";
    case GenerateEnd::stop:
      return "a stop text came up";
    case GenerateEnd::context:
      return "the context is full";
    case GenerateEnd::stopped:
      return "stopped by a signal";
  }
  return "";
}

}  // namespace

int generate_command(const std::vector<std::string>& args) {
  GenerateOptions options;
  TextSource source;
  bool chat = false;
  const std::string default_ctx = fmt::format("the model's training context, {} at most", kMaxDefaultContext);
  const CommandLine line = {
      "generate",
      "--model FILE --prompt TEXT [--lora FILE]... [flags]",
      "Continues a prompt. stdout gets the prompt and its continuation, nothing else. Of a prompt "
      "file's end one line feed is dropped.",
      {text_flags(source), model_flags(options, options.n_ctx, 1, default_ctx),
       sampling_flags(options, chat)}};
  const Given given = parse_flags(line, args);
  if (given.help) {
    fmt::print("{}", help_page(line));
    return 0;
  }
  options.prompt = read_text(source, given);
  // Editors end files with a line feed that is no part of the prompt; llama.cpp drops it, too.
  const bool from_file = given.source("--file") > given.source("--prompt");
  if (from_file && options.prompt.ends_with('\n')) options.prompt.pop_back();
  catch_stop_signals();

  GenerateEvents events;
  events.say = [](std::string_view text) { fmt::print(stderr, "{}\n", text); };
  events.on_text = [](std::string_view piece) {
    const size_t written = std::fwrite(piece.data(), 1, piece.size(), stdout);
    if (written != piece.size() || std::fflush(stdout) != 0) fail("standard output: cannot be written");
  };
  events.should_stop = [] { return stop_signal() != 0; };
  const GenerateResult result = generate(options, events);

  if (stderr_is_terminal()) fmt::print(stderr, "\n");  // the text's last line may have no end
  fmt::print(
      stderr,
      "prompt: {} tokens, {:.1f} tokens/s; generated: {} tokens, {:.1f} tokens/s; seed {}; ended: {}\n",
      result.prompt_tokens, result.prompt_tok_per_s, result.generated_tokens, result.generate_tok_per_s,
      result.seed, describe(result.end));
  return result.end == GenerateEnd::stopped && stop_signal() != 0 ? 128 + stop_signal() : 0;
}

}  // namespace lora::cli
