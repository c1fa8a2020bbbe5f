#include "convert/convert_lora.h"

#include <algorithm>
#include <map>

#include "adapter/adapter.h"
#include "adapter/pairs.h"
#include "adapter/peft_config.h"
#include "adapter/peft_names.h"
#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "base/path.h"
#include "base/plural.h"
#include "base/printable.h"
#include "base/same_file.h"
#include "convert/lora_base.h"

namespace lora {
namespace {

// The model that --base names; else the one whose config.json lies beside the adapter; else the one that the
// adapter names, if it is on this machine.
std::optional<LoraBase> find_base(const ConvertLoraOptions& options, const std::string& named) {
  if (!options.base.empty()) return open_lora_base(options.base);
  if (const std::string beside = options.input + "/config.json"; file_exists(beside)) {
    return lora_base_of(parse_hf_config(MappedFile(beside).text(), beside));
  }
  if (named.empty()) return std::nullopt;
  const bool is_here = named.ends_with(".gguf") ? file_exists(named) : file_exists(named + "/config.json");
  return is_here ? std::optional(open_lora_base(named)) : std::nullopt;
}

[[noreturn]] void ask_for_base(const ConvertLoraOptions& options, const std::string& named,
                               std::string_view what) {
  fail(
      "{}: {} comes from the model it belongs to{}, which is not here; give that with --base, as GGUF or as "
      "its folder",
      options.input, what, named.empty() ? "" : fmt::format(" ({})", printable(named)));
}

struct Read {
  Adapter adapter;
  std::optional<LoraBase> base;
};

Read read_input(const ConvertLoraOptions& options, std::vector<LeftOut>* left_out,
                const std::function<void(std::string_view)>& say) {
  Read read;
  switch (adapter_format(options.input)) {
    case AdapterFormat::folder: {
      const PeftConfig config = read_peft_config(options.input, left_out);
      read.base = find_base(options, config.base_model);
      if (!read.base) ask_for_base(options, config.base_model, "the architecture");
      PeftBase facts = read.base->facts;
      facts.weight = read.base->weight();
      facts.shape = [&base = *read.base](std::string_view tensor) { return base.shape(tensor); };
      read.adapter = read_adapter_peft(options.input, config, facts, left_out, {options.n_threads, say});
      break;
    }
    case AdapterFormat::ggla:
      read.base = find_base(options, "");
      if (!read.base) ask_for_base(options, "", "the architecture");
      read.adapter = read_adapter_ggla(options.input);
      read.adapter.architecture = read.base->facts.architecture;
      break;
    case AdapterFormat::gguf:
      read.adapter = read_adapter_gguf(options.input);
      read.base = find_base(options, "");  // the name that it holds is for people, and no path
      break;
  }
  return read;
}

// Rows of tokens that the base does not have: of the embedding's A, of the output's B.
void cut_new_tokens(LoraPair& pair, int64_t n_vocab) {
  if (pair.base != kTokenEmbedding) {
    pair.n_out = n_vocab;
    pair.b.resize(size_t(n_vocab * pair.rank));
    return;
  }
  std::vector<float> a(size_t(pair.rank * n_vocab));
  for (int64_t r = 0; r < pair.rank; ++r) {
    std::copy_n(pair.a.begin() + r * pair.n_in, n_vocab, a.begin() + r * n_vocab);
  }
  pair.n_in = n_vocab;
  pair.a = std::move(a);
}

void fit_to_base(Adapter& adapter, const LoraBase& base, const std::string& path,
                 std::vector<LeftOut>* left_out) {
  if (adapter.architecture != base.facts.architecture) {
    fail("{}: architecture: expected {} as in {}, found {}: an adapter for another model?", path,
         printable(base.facts.architecture), base.path, printable(adapter.architecture));
  }
  std::vector<LoraPair> kept;
  for (LoraPair& pair : adapter.pairs) {
    const bool is_output = pair.base == "output.weight";
    const auto shape = base.shape(pair.base);
    if (is_output && !shape) {
      leave_out(left_out, path, "tensor " + pair.base,
                fmt::format("the model {} has no output matrix beside its embedding", base.path));
      continue;
    }
    const int64_t n_tokens = is_output ? pair.n_out : pair.base == kTokenEmbedding ? pair.n_in : 0;
    if (shape && n_tokens > base.n_vocab && base.n_vocab > 0) {
      leave_out(left_out, path, "tensor " + pair.base,
                fmt::format("{} tokens beyond the {} of the model {} are not supported",
                            n_tokens - base.n_vocab, base.n_vocab, base.path));
      cut_new_tokens(pair, base.n_vocab);
    }
    check_pair(pair, shape, path, base.path);
    kept.push_back(std::move(pair));
  }
  adapter.pairs = std::move(kept);
}

// "left out: DoRA adapters are not supported (use_dora, tensor ..., and 40 more); ..."
std::string line_of(const std::vector<LeftOut>& left_out) {
  std::map<std::string, std::vector<std::string>> by_reason;
  for (const LeftOut& one : left_out) by_reason[one.why].push_back(one.what);
  std::string text = "warning: left out: ";
  for (const auto& [why, what] : by_reason) {
    if (!text.ends_with(": ")) text += "; ";
    text += fmt::format("{} ({})", why, list_of(what, 8));
  }
  return text;
}

bool needs_base(const Adapter& adapter) {
  return std::any_of(adapter.pairs.begin(), adapter.pairs.end(), [&](const LoraPair& pair) {
    const auto module = peft_module(adapter.architecture, pair.base);
    return module && needs_head_counts(*find_hf_family(adapter.architecture)->hf, *module->module);
  });
}

// What PEFT finds the model by: what a PEFT folder says, else its repository at Hugging Face or the folder
// that --base is. "" where nothing tells: the name that a GGUF has is for people.
std::string base_for_peft(const Read& read, const ConvertLoraOptions& options) {
  const std::string& named = read.adapter.base_model;
  if (is_directory(options.input) || named.find('/') != named.npos) return named;
  if (read.base && read.base->config) return folder_of(read.base->path);
  for (const char* key : {"general.source.repo_url", "general.repo_url"}) {
    if (!read.base || !read.base->gguf) break;
    if (std::string found = hf_repository(read.base->gguf->get_string(key).value_or("")); !found.empty())
      return found;
  }
  return "";
}

void write_folder(Read& read, const ConvertLoraOptions& options, Type type,
                  const std::function<void(std::string_view)>& say) {
  Adapter& adapter = read.adapter;
  if (!read.base && needs_base(adapter)) {
    ask_for_base(options, adapter.base_model, "the number of heads, by which rows of q and k are ordered,");
  }
  std::string lost;
  if (adapter.rope_freq_base) lost += fmt::format(", rope_freq_base {}", *adapter.rope_freq_base);
  if (adapter.rope_freq_scale) lost += fmt::format(", rope_freq_scale {}", *adapter.rope_freq_scale);
  if (!lost.empty()) {
    say(fmt::format(
        "warning: a PEFT folder has no place for{}, with which this adapter was trained: set it in "
        "the model's config.json",
        lost.substr(1)));
  }
  if (!adapter.facts.empty())
    say("the notes on the training that the adapter holds are not in the PEFT folder");
  adapter.base_model = base_for_peft(read, options);
  if (adapter.base_model.empty()) {
    say(fmt::format(
        "{}/adapter_config.json: base_model_name_or_path is left empty, since no file names the model's "
        "repository at Hugging Face: PeftModel.from_pretrained(model, FOLDER) needs none, others want it "
        "there",
        options.to_peft));
  }
  if (read.base && read.base->config && read.base->config->is_part) {
    say(fmt::format(
        "{}: {} holds more than its language model: modules are named as in that alone (model.layers...)",
        options.to_peft, read.base->path));
  }
  NewFolder folder(options.to_peft);
  write_adapter_peft(adapter, read.base ? read.base->facts : PeftBase{adapter.architecture},
                     read.base ? read.base->n_layer : 0, options.to_peft, type, say);
  folder.keep();
}

}  // namespace

ConvertLoraResult convert_lora(const ConvertLoraOptions& options,
                               const std::function<void(std::string_view line)>& say) {
  if (options.outtype != "f32" && options.outtype != "f16") {
    fail("outtype '{}': not known; expected f32 or f16", printable(options.outtype));
  }
  const Type type = options.outtype == "f16" ? Type::F16 : Type::F32;
  std::string name = last_part_of(options.input, "adapter");
  for (const std::string_view end : {".gguf", ".bin"}) {
    if (name.ends_with(end) && name.size() > end.size()) name.resize(name.size() - end.size());
  }
  ConvertLoraResult result;
  result.type = upper_case(options.outtype);
  result.path = !options.to_peft.empty()   ? options.to_peft
                : !options.outfile.empty() ? options.outfile
                                           : fmt::format("{}-lora-{}.gguf", name, result.type);

  std::vector<LeftOut> left_out;
  std::vector<LeftOut>* may_leave_out = options.skip_unsupported ? &left_out : nullptr;
  Read read = read_input(options, may_leave_out, say);
  Adapter& adapter = read.adapter;
  std::vector<std::string> inputs = read.base ? read.base->files : std::vector<std::string>();
  inputs.insert(inputs.end(), {options.input, options.base});
  Hold hold;
  if (options.to_peft.empty()) {
    hold = hold_new(result.path, inputs, say);
  } else {
    for (const std::string& path : peft_files(result.path)) expect_new(path, inputs);
  }
  for (const std::string& norm : adapter.ignored) {
    leave_out(may_leave_out, options.input, "tensor " + printable(norm),
              "a LoRA on a norm, which no program applies, is not supported");
  }
  if (read.base) fit_to_base(adapter, *read.base, options.input, may_leave_out);
  if (adapter.pairs.empty()) fail("{}: nothing is left to convert", options.input);
  if (!left_out.empty()) say(line_of(left_out));

  if (adapter.name.empty()) adapter.name = name;
  if (options.to_peft.empty()) {
    write_adapter_gguf(adapter, result.path, type);
  } else {
    write_folder(read, options, type, say);
  }
  const auto [least, most] =
      std::minmax_element(adapter.pairs.begin(), adapter.pairs.end(),
                          [](const LoraPair& a, const LoraPair& b) { return a.rank < b.rank; });
  result.architecture = adapter.architecture;
  result.n_tensors = int64_t(adapter.pairs.size());
  result.min_rank = least->rank;
  result.max_rank = most->rank;
  result.alpha = adapter.alpha;
  return result;
}

}  // namespace lora
