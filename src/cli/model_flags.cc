#include "cli/model_flags.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/text_file.h"

namespace lora::cli {

std::vector<Flag> lora_flags(std::vector<LoraFile>& loras) {
  return {{"--lora", "FILE", "", "adapter to apply: GGUF, ggla file, folder of PEFT or MLX; may be repeated",
           lora_file(loras)},
          {"--lora-scaled", "FILE:SCALE", "",
           "the same, its effect multiplied by SCALE, which may also be the next argument; may be repeated",
           scaled_lora_file(loras)}};
}

std::vector<Flag> rope_flags(std::optional<double>& freq_base, std::optional<double>& freq_scale) {
  constexpr NumberRange above_zero{.min = 0, .max = std::numeric_limits<float>::max(), .above_min = true};
  return {{"--rope-freq-base", "F", "", "base of the rotary frequencies",
           number(freq_base, above_zero).or_else("the adapter's, else the model's")},
          {"--rope-freq-scale", "F", "", "factor on the rotary frequencies",
           number(freq_scale, above_zero).or_else("the adapter's, else the model's")}};
}

FlagGroup model_flags(ModelOptions& o, int64_t& n_ctx, int64_t min_ctx, const std::string& default_ctx,
                      bool of_samples) {
  std::vector<Flag> rows = {
      {"-m,--model", "FILE", "", "model GGUF, any supported tensor type", non_empty_text(o.model), true}};
  const auto append = [&](const std::vector<Flag>& more) {
    rows.insert(rows.end(), more.begin(), more.end());
  };
  append(lora_flags(o.loras));
  append(
      {{"-c,--ctx-size,--ctx", "N", "tokens", "context length", integer(n_ctx, min_ctx).or_else(default_ctx)},
       {"-t,--threads", "N", "", "threads to compute with",
        integer(o.threads, 1, kMaxThreads).or_else("physical cores")},
       {"--precision", "P", "",
        std::string("of matrix multiplications: f32, bf16 or auto (bf16 where the CPU is faster at it)") +
            (of_samples ? "; of --train-data, int8 and auto as in lora finetune"
                        : "; lora generate multiplies quantized weights in 8-bit integers unless it is f32"),
        precision(o.precision, of_samples)}});
  append(rope_flags(o.rope_freq_base, o.rope_freq_scale));
  return {"Model", rows};
}

FlagGroup text_flags(TextSource& source) {
  return {"Text",
          {{"-p,--prompt", "TEXT", "", "the text", text(source.prompt)},
           {"-f,--file", "FILE", "", "a file that holds the text", text(source.file)}}};
}

bool wants_samples(const Given& given) {
  const Source text = std::max(given.source("--prompt"), given.source("--file"));
  const Source data = given.source("--train-data");
  if (text == Source::nowhere && data == Source::nowhere) {
    throw UsageError("--prompt: required, or --file or --train-data");
  }
  if (text == data) throw UsageError("--train-data: not together with --prompt or --file");
  return data > text;
}

void refuse_flags(const std::vector<Flag>& flags, const Given& given, const char* why) {
  for (const Flag& flag : flags) {
    if (given.source(main_name(flag)) == Source::command_line) {
      throw UsageError(fmt::format("{}: {}", main_name(flag), why));
    }
  }
}

std::string read_text(const TextSource& source, const Given& given, LineEnds line_ends) {
  const Source prompt = given.source("--prompt"), file = given.source("--file");
  if (prompt == Source::nowhere && file == Source::nowhere) throw UsageError("--prompt: required, or --file");
  if (prompt == file) throw UsageError("--prompt: not together with --file");
  if (prompt > file) return source.prompt;
  if (line_ends == LineEnds::as_they_are) {
    const MappedFile as_it_is(source.file);
    expect_text(as_it_is.text(), source.file);
    return std::string(as_it_is.text());
  }
  return std::string(TextFile(source.file).text());
}

}  // namespace lora::cli
