#include "convert/imatrix_fit.h"

#include <algorithm>

#include "base/error.h"
#include "base/plural.h"
#include "base/printable.h"
#include "convert/names.h"

namespace lora {
namespace {

// An entry has a row of columns for each expert. Older files have one count for all of them.
void check_columns(const std::string& path, const GgufTensor& tensor, const ImatrixEntry& entry) {
  const auto n = int64_t(entry.sums.size()), n_counts = int64_t(entry.counts.size());
  const int64_t n_cols = tensor.ne[0], n_experts = tensor.ne[2];
  if ((n == n_cols && n_counts == 1) || (n == n_cols * n_experts && (n_counts == 1 || n_counts == n_experts)))
    return;
  const auto text = [](int64_t columns, int64_t experts) {
    return experts > 1 ? fmt::format("{} columns of {} experts", columns, experts)
                       : fmt::format("{} columns", columns);
  };
  fail("{}: entry '{}' has {}, the model's tensor {}: made with another model", path, printable(tensor.name),
       text(n / n_counts, n_counts), text(n_cols, n_experts));
}

void compare_names(const Imatrix& imatrix, const std::string& path, const Gguf& model,
                   const std::function<void(std::string_view)>& say) {
  const std::string name = model.get_string("general.name").value_or("");
  if (imatrix.model.empty() || name.empty() || imatrix.model == name) return;
  say(fmt::format("{}: was made with '{}', the model's name is '{}'", path, printable(imatrix.model),
                  printable(name)));
}

void check_entries(const Imatrix& imatrix, const std::string& path, const Gguf& model,
                   const std::function<void(std::string_view)>& say) {
  std::vector<std::string_view> unknown;
  for (const auto& [name, entry] : imatrix.entries) {
    if (!model.find_tensor(name)) unknown.push_back(name);
  }
  if (unknown.empty()) return;
  const std::string found =
      fmt::format("{}: {} of {} entries are of no tensor of {}: {}", path, unknown.size(),
                  imatrix.entries.size(), model.path(), some_of(unknown));
  if (2 * unknown.size() > imatrix.entries.size())
    fail("{}: made with another model; make one with: lora imatrix -m {}", found, model.path());
  say(found + ": they are not used");
}

}  // namespace

bool uses_importance(Type type) {
  return traits(type).block_size > 1 && type != Type::Q8_0;
}

std::vector<const ImatrixEntry*> fit_imatrix(const Imatrix& imatrix, const std::string& path,
                                             const Gguf& model, const std::vector<TensorChoice>& choices,
                                             const std::function<void(std::string_view)>& say) {
  check_entries(imatrix, path, model, say);
  std::vector<const ImatrixEntry*> fitted(choices.size());
  std::vector<std::string_view> without, unreached;
  std::vector<std::pair<std::string_view, std::vector<int64_t>>> without_experts;
  size_t n_weighted = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    const GgufTensor& tensor = model.tensors()[i];
    const auto found = imatrix.entries.find(tensor.name);
    if (found != imatrix.entries.end()) check_columns(path, tensor, found->second);
    if (choices[i].type == tensor.type || !uses_importance(choices[i].type)) continue;
    ++n_weighted;
    if (found == imatrix.entries.end()) {
      without.push_back(tensor.name);
      continue;
    }
    fitted[i] = &found->second;
    std::vector<int64_t> experts = unreached_experts(found->second, tensor.ne[0]);
    if (experts.empty()) continue;
    if (tensor.ne[2] > 1) {
      without_experts.emplace_back(tensor.name, std::move(experts));
    } else {
      unreached.push_back(tensor.name);
    }
  }
  compare_names(imatrix, path, model, say);
  if (n_weighted == 0) {
    say(fmt::format("{}: without effect: no tensor becomes a type that importance matters to", path));
  } else if (without.size() == n_weighted) {
    fail(
        "{}: has no entry for any tensor that is quantized: made with another model; make one with: lora "
        "imatrix -m {}",
        path, model.path());
  } else if (!without.empty()) {
    say(fmt::format("{}: no entry for {} of {} tensors, which are quantized without: {}", path,
                    without.size(), n_weighted, some_of(without)));
  }
  if (!unreached.empty()) {
    say(fmt::format("{}: its text did not reach {}, quantized without: {}", path,
                    count_of(int64_t(unreached.size()), "tensor"), some_of(unreached)));
  }
  if (!without_experts.empty()) {
    say(fmt::format("{}: no token of its text went to these experts, quantized without: {}", path,
                    experts_text(without_experts)));
  }
  return fitted;
}

}  // namespace lora
