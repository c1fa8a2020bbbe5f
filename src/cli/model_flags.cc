#include "cli/model_flags.h"

#include "data/text_file.h"

namespace lora::cli {

FlagGroup model_flags(ModelOptions& o, int64_t& n_ctx, int64_t min_ctx, const std::string& default_ctx) {
  constexpr NumberRange above_zero{.min = 0, .above_min = true};
  return {
      "Model",
      {
          {"-m,--model", "FILE", "", "model GGUF, any supported tensor type", non_empty_text(o.model), true},
          {"--lora", "FILE", "", "adapter to apply: GGUF, ggla file, folder of PEFT or MLX; may be repeated",
           lora_file(o.loras)},
          {"--lora-scaled", "FILE SCALE", "", "the same, its effect multiplied by SCALE; may be repeated",
           scaled_lora_file(o.loras)},
          {"-c,--ctx-size,--ctx", "N", "tokens", "context length",
           integer(n_ctx, min_ctx).or_else(default_ctx)},
          {"-t,--threads", "N", "", "threads to compute with",
           integer(o.threads, 1, 4096).or_else("physical cores")},
          {"--precision", "P", "",
           "of matrix multiplications: f32, bf16 or auto (bf16 where the CPU has it); all but f32 generate "
           "in 8-bit integers where weights are quantized",
           precision(o.precision)},
          {"--rope-freq-base", "F", "", "base of the rotary frequencies",
           number(o.rope_freq_base, above_zero).or_else("the adapter's, else the model's")},
          {"--rope-freq-scale", "F", "", "factor on the rotary frequencies",
           number(o.rope_freq_scale, above_zero).or_else("the adapter's, else the model's")},
      },
  };
}

FlagGroup text_flags(TextSource& source) {
  return {"Text",
          {{"-p,--prompt", "TEXT", "", "the text", text(source.prompt)},
           {"-f,--file", "FILE", "", "a file that holds the text", text(source.file)}}};
}

std::string read_text(const TextSource& source, const Given& given, LineEnds line_ends) {
  const Source prompt = given.source("--prompt"), file = given.source("--file");
  if (prompt == Source::nowhere && file == Source::nowhere) throw UsageError("--prompt: required, or --file");
  if (prompt == file) throw UsageError("--prompt: not together with --file");
  if (prompt > file) return source.prompt;
  if (line_ends == LineEnds::as_they_are) return std::string(MappedFile(source.file).text());
  return std::string(TextFile(source.file).text());
}

}  // namespace lora::cli
