#include "convert/convert_lora.h"

#include <fmt/format.h>

#include "base/printable.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/put.h"

namespace lora::cli {

int convert_lora_command(const std::vector<std::string>& args) {
  ConvertLoraOptions options;
  const CommandLine line = {
      "convert-lora",
      "DIR|FILE [flags]",
      "A LoRA as PEFT or MLX has it (a folder), or as the programs of 2023 wrote it (a ggla file), to an "
      "adapter GGUF; or an adapter to a PEFT folder.",
      {{"Files",
        {{"INPUT", "DIR|FILE", "", "the adapter: a folder of PEFT or MLX, a ggla file or an adapter GGUF",
          non_empty_text(options.input), true},
         {"--base", "FILE|DIR", "",
          "the model it belongs to, as GGUF or as Hugging Face folder, of which config.json is enough",
          non_empty_text(options.base).or_else("config.json in the adapter's folder, or the model it names")},
         {"-o,--outfile", "FILE", "", "where to write",
          non_empty_text(options.outfile).or_else("NAME-lora-TYPE.gguf, NAME as the adapter is called")},
         {"--to-peft", "DIR", "", "write a PEFT folder in place of a GGUF file",
          non_empty_text(options.to_peft)}}},
       {"Content",
        {{"--outtype", "TYPE", "", "tensor type: f32 or f16", one_of(options.outtype, {"f32", "f16"})},
         {"--skip-unsupported", "", "",
          "leave out what an adapter cannot express (DoRA's magnitudes, whole modules, biases, new tokens), "
          "with a warning that lists it",
          turn(options.skip_unsupported)}}},
       {"Performance",
        {{"-t,--threads", "N", "", "threads to compute with, where PiSSA or OLoRA asks for it",
          integer(options.n_threads, 1, kMaxThreads).or_else("physical cores")}}}}};
  const Given given = parse_flags(line, args);
  if (given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  if (!options.to_peft.empty() && !options.outfile.empty()) {
    throw UsageError("--outfile: not together with --to-peft");
  }
  const ConvertLoraResult result = convert_lora(options, [](std::string_view text) { say(stderr, text); });
  const std::string rank = result.min_rank == result.max_rank
                               ? fmt::format("{}", result.max_rank)
                               : fmt::format("{} to {}", result.min_rank, result.max_rank);
  say(stderr, fmt::format("{}: {}, {} tensors adapted, rank {}, alpha {}, {}", result.path,
                          printable(result.architecture), result.n_tensors, rank, result.alpha, result.type));
  return 0;
}

}  // namespace lora::cli
