#include "cli/aliases.h"

#include <algorithm>

#include "cli/suggest.h"

namespace lora::cli {

namespace {

struct Alias {
  std::string_view name, flag;  // flag: any name of a flag, or of a positional argument
};
constexpr Alias kAliases[] = {
    {"--model-base", "MODEL"},
    {"--model", "MODEL"},
    {"-m", "MODEL"},
    {"--train-data", "DATA"},
    {"--model", "--base"},
    {"--model-base", "--base"},
    {"--model", "DIR"},
    {"--model", "IN"},
    {"--model", "FILE"},
    {"--model-base", "--model"},
    {"--base-model", "--model"},
    {"--base-model", "--base"},
    {"--model-path", "--model"},
    {"--data", "--train-data"},
    {"--dataset", "--train-data"},
    {"--train-file", "--train-data"},
    {"--training-data", "--train-data"},
    {"--eval-data", "--val-data"},
    {"--valid-data", "--val-data"},
    {"--validation-data", "--val-data"},
    {"--output", "--outfile"},
    {"--output", "--model-out"},
    {"--output", "OUT"},
    {"-o", "OUT"},
    {"--outfile", "--output"},
    {"--outfile", "--model-out"},
    {"--outfile", "OUT"},
    {"--out", "--outfile"},
    {"--out", "--model-out"},
    {"--out", "--output"},
    {"--out", "OUT"},
    {"--context-length", "--ctx"},
    {"--ctx-size", "--ctx"},
    {"--max-seq-len", "--ctx"},
    {"--max-seq-length", "--ctx"},
    {"--seq-len", "--ctx"},
    {"--batch-size", "--batch"},
    {"--per-device-train-batch-size", "--batch"},
    {"--grad-accum", "--grad-acc"},
    {"--gradient-accumulation-steps", "--grad-acc"},
    {"--lora-rank", "--lora-r"},
    {"--alpha", "--lora-alpha"},
    {"--dropout", "--lora-dropout"},
    {"--neftune-noise-alpha", "--neftune"},
    {"--loraplus-lr-ratio", "--lora-plus"},
    {"--num-layers", "--layers"},
    {"--use-rslora", "--rslora"},
    {"--lr", "--adam-alpha"},
    {"--learning-rate", "--adam-alpha"},
    {"--iter", "--adam-iter"},
    {"--iters", "--adam-iter"},
    {"--max-steps", "--adam-iter"},
    {"--steps", "--adam-iter"},
    {"--iters", "--iterations"},
    {"--steps", "--iterations"},
    {"--num-epochs", "--epochs"},
    {"--num-train-epochs", "--epochs"},
    {"--warmup-steps", "--warmup"},
    {"--lr-scheduler-type", "--schedule"},
    {"--lr-schedule", "--schedule"},
    {"--weight-decay", "--adam-decay"},
    {"--max-grad-norm", "--adam-gclip"},
    {"--eval-steps", "--eval-every"},
    {"--steps-per-eval", "--eval-every"},
    {"--save-steps", "--save-every"},
    {"--save-total-limit", "--keep"},
    {"--gradient-checkpointing", "--use-checkpointing"},
    {"--adapter", "--lora"},
    {"--adapter-path", "--lora"},
    {"--max-new-tokens", "--n-predict"},
    {"--max-tokens", "--n-predict"},
    {"--temperature", "--temp"},
    {"--repetition-penalty", "--repeat-penalty"},
    {"--prompt-file", "--file"},
    {"--n-threads", "--threads"},
    {"--num-threads", "--threads"},
};

struct Hint {
  std::string_view command;  // "": every one
  std::string_view word, text;
};
constexpr std::string_view kLoraOut = "did you mean --lora-out, the adapter to write?";
constexpr std::string_view kCheckpointIn = "did you mean --checkpoint-in?";
constexpr std::string_view kEstimate = "lora estimate takes the same flags and trains nothing";
constexpr std::string_view kChat = "did you mean --chat?";
constexpr std::string_view kCpu = "this program computes on the processor alone";
constexpr Hint kFlagHints[] = {
    {"finetune", "--dry-run", kEstimate},
    {"finetune", "-o", kLoraOut},
    {"finetune", "--output", kLoraOut},
    {"finetune", "--outfile", kLoraOut},
    {"finetune", "--out", kLoraOut},
    {"finetune", "--output-dir", kLoraOut},
    {"finetune", "--adapter-path", kLoraOut},
    {"finetune", "--resume", kCheckpointIn},
    {"finetune", "--resume-from-checkpoint", kCheckpointIn},
    {"finetune", "--lora", "did you mean --lora-init, the adapter to start from?"},
    {"finetune", "--target-modules", "the --rank-... flags choose the tensors; 0 leaves one out"},
    {"generate", "-i", kChat},
    {"generate", "--interactive", kChat},
    {"generate", "-cnv", kChat},
    {"generate", "--conversation", kChat},
    {"", "-ngl", kCpu},
    {"", "--n-gpu-layers", kCpu},
    {"", "--gpu-layers", kCpu},
    {"", "--device", kCpu},
};

constexpr CommandAlias kCommandAliases[] = {
    {"finetune", "finetune", "", true}, {"fine-tune", "finetune"}, {"main", "generate", "", true},
    {"perplexity", "eval", "", true},   {"ppl", "eval"},           {"quantize", "quantize", "", true},
    {"quantise", "quantize"},           {"merge", "export-lora"},  {"export-lora", "export-lora", "", true},
    {"chat", "generate", "--chat"},     {"tokenise", "tokenize"},
};

constexpr std::string_view kServe =
    "there is no server here; llama-server and koboldcpp serve the models and adapters that this program "
    "makes";
constexpr std::string_view kGenerate = "did you mean generate, which continues a text, or generate --chat?";
constexpr Hint kCommandHints[] = {
    {"", "train", "did you mean finetune?"},
    {"", "lora", "did you mean finetune?"},
    {"", "run", kGenerate},
    {"", "infer", kGenerate},
    {"", "inference", kGenerate},
    {"", "complete", kGenerate},
    {"", "completion", kGenerate},
    {"", "serve", kServe},
    {"", "server", kServe},
    {"", "info", "did you mean inspect?"},
    {"", "show", "did you mean inspect?"},
    {"", "dump", "did you mean inspect?"},
    {"", "evaluate", "did you mean eval?"},
    {"", "test", "did you mean eval?"},
    {"", "benchmark", "did you mean bench?"},
    {"", "export", "did you mean export-lora, which merges an adapter into a model?"},
    {"", "fuse", "did you mean export-lora, which merges an adapter into a model?"},
    {"", "convert-hf-to-gguf", "did you mean convert?"},
    {"", "convert-lora-to-gguf", "did you mean convert-lora?"},
};

template <size_t n>
std::string find_hint(const Hint (&hints)[n], std::string_view command, std::string_view word) {
  for (const Hint& hint : hints) {
    if (hint.word == word && (hint.command.empty() || hint.command == command)) return std::string(hint.text);
  }
  return "";
}

bool has_name(const Flag& flag, std::string_view name) {
  const std::vector<std::string> names = names_of(flag);
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::vector<std::string> aliases_of(const Flag& flag, const std::vector<FlagGroup>& groups) {
  std::vector<std::string> result;
  for (const Alias& alias : kAliases) {
    if (!has_name(flag, alias.flag)) continue;
    const bool is_taken = std::any_of(groups.begin(), groups.end(), [&](const FlagGroup& group) {
      return std::any_of(group.flags.begin(), group.flags.end(),
                         [&](const Flag& other) { return has_name(other, alias.name); });
    });
    if (!is_taken && std::find(result.begin(), result.end(), alias.name) == result.end())
      result.emplace_back(alias.name);
  }
  return result;
}

std::string flag_hint(std::string_view command, std::string_view flag) {
  return find_hint(kFlagHints, command, with_dashes(flag));
}

const CommandAlias* find_command_alias(std::string_view name) {
  const auto found = std::find_if(std::begin(kCommandAliases), std::end(kCommandAliases),
                                  [&](const CommandAlias& alias) { return alias.name == name; });
  return found == std::end(kCommandAliases) ? nullptr : &*found;
}

std::string command_hint(std::string_view command) {
  return find_hint(kCommandHints, "", with_dashes(command));
}

}  // namespace lora::cli
