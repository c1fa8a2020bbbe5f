#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "cli/put.h"
#include "gguf/describe.h"
#include "model/trainable.h"

namespace lora::cli {
namespace {

// Of a GGUF that is a model; others have no family.
std::optional<Trainable> trainable(const std::string& path) {
  if (!MappedFile(path).text().starts_with("GGUF")) return std::nullopt;
  const Gguf gguf = Gguf::open(path);
  if (!gguf.get_string("general.architecture") || gguf.tensors().empty()) return std::nullopt;
  if (gguf.get_string("general.type").value_or("model") != "model") return std::nullopt;
  return what_can_be_trained(path, gguf);
}

// What a folder is, and which way on.
std::string folder_is(const std::string& path) {
  const auto has = [&](const char* name) { return file_exists(path + "/" + name); };
  if (has("adapter_config.json")) {
    return "a folder with a LoRA of PEFT or MLX, which --lora takes as it is; look into its .safetensors, or "
           "the "
           "GGUF that lora convert-lora makes of it";
  }
  if (has("config.json")) {
    return fmt::format(
        "the folder of a Hugging Face model, of which lora convert {} makes a GGUF to train and look into; "
        "its "
        ".safetensors can be looked into one by one",
        path);
  }
  return "a folder, and not that of a Hugging Face model or LoRA (no config.json, no adapter_config.json); "
         "give a "
         "file";
}

std::string as_text(const std::string& path, const Trainable& t) {
  std::string text = fmt::format("\nfamily: {}{}\n", printable(t.architecture),
                                 t.models.empty() ? "" : fmt::format(" ({})", t.models));
  if (!t.refused.empty()) {
    // The path stands in the first line.
    const size_t why = t.refused.starts_with(path + ": ") ? path.size() + 2 : 0;
    return text + fmt::format("  not trained or run here: {}\n", printable(t.refused.substr(why), 1000));
  }
  text += fmt::format("  trained by default: {}\n", fmt::join(t.linear_layers, ", "));
  return text + fmt::format("  where a rank is given: {}\n", fmt::join(t.others, ", "));
}

nlohmann::ordered_json family_json(const Trainable& t) {
  nlohmann::ordered_json family = {{"architecture", t.architecture}, {"models", t.models}};
  if (t.refused.empty()) {
    family["trained_by_default"] = t.linear_layers;
    family["trained_with_a_rank"] = t.others;
  } else {
    family["refused"] = t.refused;
  }
  return {{"family", family}};
}

}  // namespace

int inspect_command(const std::vector<std::string>& args) {
  std::string file;
  bool json = false;
  const CommandLine line = {
      "inspect",
      "FILE [flags]",
      "Metadata and tensors of a GGUF (model, adapter, checkpoint) or safetensors file; of a model its "
      "family, and what "
      "of it can be trained.",
      {{"File", {{"FILE", "FILE", "", "what to look into", non_empty_text(file), true}}},
       {"Output", {{"--json", "", "", "print one JSON object, arrays whole", turn(json)}}}}};
  if (const Given given = parse_flags(line, args); given.help) {
    print(help_page(line, given.help_all));
    return 0;
  }
  if (is_directory(file)) fail("{}: {}", file, folder_is(file));
  if (json) {
    const std::optional<Trainable> family = trainable(file);
    describe_as_json(file, family ? family_json(*family) : nlohmann::ordered_json(), print_json);
    return 0;
  }
  print(describe_as_text(file));
  if (const std::optional<Trainable> family = trainable(file)) print(as_text(file, *family));
  return 0;
}

}  // namespace lora::cli
