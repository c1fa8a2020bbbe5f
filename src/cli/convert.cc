#include "convert/convert.h"

#include <fmt/ranges.h>

#include "base/signals.h"
#include "base/timing.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/progress.h"
#include "cli/put.h"

namespace lora::cli {

int convert_command(const std::vector<std::string>& args) {
  ConvertOptions options;
  const CommandLine line = {
      "convert",
      "DIR [flags]",
      fmt::format("A model as Hugging Face has it (config.json, safetensors or pytorch_model.bin, tokenizer) "
                  "to one GGUF "
                  "file. Its class in config.json is one of {}.",
                  fmt::join(convert_classes(), ", ")),
      {{"Files",
        {{"DIR", "DIR", "", "the model's folder", non_empty_text(options.folder), true},
         {"-o,--outfile", "FILE", "", "where to write",
          non_empty_text(options.outfile).or_else("NAME-TYPE.gguf, NAME as the folder is called")},
         {"--split-max-size", "SIZE", "", "write several files with tensors of this size at most in each",
          size(options.split_max_bytes).or_else("one file")}}},
       {"Content",
        {{"--outtype", "TYPE", "",
          "tensor type: f32, f16, bf16, q8_0; auto: f16 where the weights are F16, else bf16",
          one_of(options.outtype, convert_types())},
         {"--vocab-only", "", "", "only the vocabulary, for lora tokenize", turn(options.vocab_only)}}},
       {"Performance",
        {{"-t,--threads,--concurrency", "N", "", "threads to compute with",
          integer(options.n_threads, 1, kMaxThreads).or_else("physical cores")}}}}};
  if (const Given given = parse_flags(line, args); given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  catch_stop_signals();

  const Clock::time_point start = Clock::now();
  ConvertResult result;
  {
    Progress progress;
    ConvertEvents events;
    events.say = [&](std::string_view text) { progress.say(text); };
    events.on_progress = [&](uint64_t done, uint64_t total) { progress.bytes(done, total); };
    events.should_stop = [] { return stop_signal() != 0; };
    result = convert(options, events);
  }
  if (result.stopped) {
    say(stderr, "stopped: nothing was written");
    return 128 + stop_signal();
  }
  const double took = seconds_since(start);
  std::string facts =
      fmt::format("{}: {}, {} tokens", result.files.front(), result.architecture, result.n_vocab);
  if (!options.vocab_only) {
    facts += fmt::format(", {} tensors, {}: {} in {:.1f} s ({:.0f} MB/s)", result.n_tensors, result.type,
                         format_size(result.bytes_written), took, double(result.bytes_written) / 1e6 / took);
  }
  say(stderr, facts);
  if (result.files.size() > 1) {
    say(stderr,
        fmt::format("{} files; give the first to programs, they find the others", result.files.size()));
  }
  return 0;
}

}  // namespace lora::cli
