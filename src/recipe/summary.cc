#include "recipe/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/elementary.h"
#include "base/path.h"
#include "base/process.h"
#include "chat/chat_template.h"
#include "train/report.h"

namespace lora {
namespace {

// As it is, whatever signs of Markdown are in it.
std::string verbatim(std::string_view text) {
  std::string result = "    ";
  for (const char c : text) {
    result += c;
    if (c == '\n') result += "    ";
  }
  return result + "\n";
}

std::string table_row(const std::string& what, std::optional<double> loss) {
  return loss ? fmt::format("| {} | {:.4f} | {:.2f} |\n", what, *loss, elementary::exp(*loss)) : "";
}

}  // namespace

Conversations conversations_of(const FinetuneOptions& options, const FinetuneResult& result) {
  Conversations found{!result.chat_templates.empty()};
  const bool are_instructions =
      result.chat_templates == std::set<std::string>{"alpaca"};  // whatever is asked
  if (options.chat_template != "auto" && !are_instructions) {
    if (found.any) found.chat_template = options.chat_template;
    return found;
  }
  for (const std::string& name : result.chat_templates) {
    if (find_built_in_template(name)) found.chat_template = name;
  }
  return found;
}

std::vector<Use> uses_of(const std::string& model, const std::string& adapter, const Conversations& chat,
                         const std::string& modelfile) {
  const std::string m = shell_word(model), a = shell_word(adapter);
  std::string stem = adapter.substr(0, adapter.size() - (adapter.ends_with(".gguf") ? 5 : 0));
  const std::string name = shell_word(split_path(stem).second), merged = shell_word(stem + "-merged.gguf");
  const std::string merge =
      fmt::format("lora export-lora --model-base {} --lora {} --model-out {}", m, a, merged);
  std::string how = chat.any ? "--chat" : "-p 'How it begins'";
  if (!chat.chat_template.empty()) how += " --chat-template " + shell_word(chat.chat_template);
  std::string lines = modelfile_of(model, adapter);
  lines.pop_back();
  std::ranges::replace(lines, '\n', ';');
  return {
      {"lora", fmt::format("lora generate -m {} --lora {} {}", m, a, how)},
      {"llama.cpp", fmt::format("llama-cli -m {} --lora {}", m, a)},
      {"koboldcpp", fmt::format("koboldcpp --model {} --lora {}", m, a),
       "SillyTavern connects to it as always"},
      {"Ollama",
       fmt::format("ollama create {} -f {}", name, modelfile.empty() ? "Modelfile" : shell_word(modelfile)),
       modelfile.empty() ? fmt::format("its lines: {}", lines) : ""},
      {"LM Studio", merge, "it loads no adapters: put the merged model among its models"},
  };
}

std::string modelfile_of(const std::string& model, const std::string& adapter) {
  return fmt::format("FROM {}\nADAPTER {}\n", absolute_path(model), absolute_path(adapter));
}

std::string markdown(const Summary& s) {
  const Evaluations& e = s.result.evaluations;
  std::string text =
      fmt::format("# {}\n\nA LoRA for `{}`, trained by lora.cpp: `{}`.\n\n", split_path(s.name).second,
                  split_path(s.model).second, split_path(s.adapter).second);
  for (const std::string& path : s.data) text += fmt::format("- `{}`\n", path);
  text += fmt::format("\nIt ended at iteration {}: {}.\n", s.result.iterations, s.result.why);

  text += "\n## How good it became\n\n";
  const std::vector<std::string> quality = describe_quality(e, s.result.best_path);
  if (quality.empty()) text += "No samples were held out, so nothing tells.\n";
  for (size_t i = 1; i < quality.size(); ++i) text += fmt::format("{}.\n\n", quality[i]);
  if (e.best) {
    text += "| on text that it has not seen | loss | perplexity |\n|---|---|---|\n";
    text += table_row("before training", e.before);
    text += table_row(e.best_iteration > 0 ? fmt::format("best, iteration {}", e.best_iteration) : "best",
                      e.best);
    if (e.last_iteration > e.best_iteration)
      text += table_row(fmt::format("last, iteration {}", e.last_iteration), e.last);
  }
  if (!s.picture.empty()) text += fmt::format("\n![the losses]({})\n", split_path(s.picture).second);
  if (!s.result.sample_prompt.empty() && !e.sample_best.empty()) {
    text += fmt::format("\nGiven\n\n{}\n", verbatim(s.result.sample_prompt));
    if (!e.sample_before.empty())
      text += fmt::format("it went on before training\n\n{}\n", verbatim(e.sample_before));
    text +=
        fmt::format("{}\n\n{}", e.sample_before.empty() ? "it goes on" : "and now", verbatim(e.sample_best));
  }

  text +=
      "\n## How to use it\n\nOnly together with the model that it was trained on.\n\n| program | "
      "|\n|---|---|\n";
  for (const Use& use : uses_of(s.model, s.adapter, s.chat, s.modelfile))
    text +=
        fmt::format("| {} | `{}`{} |\n", use.program, use.command, use.note.empty() ? "" : "<br>" + use.note);
  text += "\nMerging as for LM Studio makes one file for any program.\n";
  if (!s.chat.chat_template.empty())
    text += fmt::format(
        "\nThe conversations were written with the template {}, which is not the model's own: set other "
        "programs to that form (`lora template {}` shows it).\n",
        s.chat.chat_template, s.chat.chat_template);

  text += "\n## How it was trained\n\n";
  if (!s.result.compute.empty()) text += fmt::format("With {}:\n\n", s.result.compute);
  text += fmt::format(
      "{}\n`{}.toml` has the settings that it was begun with, each with its "
      "reason; "
      "`lora finetune --config` takes them.\n",
      verbatim(s.command), split_path(s.name).second);
  return text;
}

}  // namespace lora
