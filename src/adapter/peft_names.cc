#include "adapter/peft_names.h"

#include <algorithm>
#include <span>

#include "base/error.h"
#include "base/numbers.h"
#include "base/printable.h"

namespace lora {
namespace {

// The module named so that a LoRA may sit on: one with a matrix.
const HfModule* find_module(std::span<const HfModule> modules, std::string_view hf) {
  const auto found = std::find_if(modules.begin(), modules.end(),
                                  [&](const HfModule& m) { return m.hf == hf && m.n_out != Dim::none; });
  return found == modules.end() ? nullptr : &*found;
}

const HfModule* find_module(const HfArchitecture& arch, std::string_view hf) {
  for (const auto& modules : arch.layer) {
    if (const HfModule* found = find_module(modules, hf)) return found;
  }
  return nullptr;
}

bool remove_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace

std::optional<PeftTarget> peft_target(std::string_view architecture, std::string_view module) {
  const HfArchitecture* arch = find_hf_architecture(architecture);
  if (arch == nullptr) return std::nullopt;
  // What stands before the layers: nothing where the adapter sits on a model without a head, more where the
  // model also sees.
  for (const char* prefix : {"model.language_model.", "language_model.model.", "language_model.", "model."}) {
    if (remove_prefix(module, prefix)) break;
  }
  if (!remove_prefix(module, "layers.")) {
    const HfModule* root = find_module(hf_root_modules(), module);
    if (root == nullptr) return std::nullopt;
    return PeftTarget{fmt::format("{}.weight", root->gguf), RowOrder::as_is};
  }
  const auto layer = take_number<uint32_t>(module);
  if (!layer || !remove_prefix(module, ".")) return std::nullopt;
  const HfModule* found = find_module(*arch, module);
  if (found == nullptr) return std::nullopt;
  return PeftTarget{fmt::format("blk.{}.{}.weight", *layer, found->gguf),
                    arch->reorders_heads ? found->order : RowOrder::as_is};
}

std::optional<PeftModule> peft_module(std::string_view architecture, std::string_view base) {
  const HfArchitecture* arch = find_hf_architecture(architecture);
  const auto place = arch ? find_hf_matrix(*arch, base) : std::nullopt;
  if (!place) return std::nullopt;
  if (place->layer) {
    return PeftModule{fmt::format("model.layers.{}.{}", *place->layer, place->module->hf),
                      arch->reorders_heads ? place->module->order : RowOrder::as_is};
  }
  return PeftModule{fmt::format("{}{}", place->module->hf == "lm_head" ? "" : "model.", place->module->hf)};
}

void check_peft_knows(const std::string& path, std::string_view architecture) {
  if (find_hf_architecture(architecture) != nullptr) return;
  std::string known;
  for (const HfArchitecture& row : hf_architectures()) {
    known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  }
  fail("{}: architecture {}: the names of its modules at Hugging Face are not known here (known: {})", path,
       printable(architecture), known);
}

bool reorder_rows(std::vector<float>& b, int64_t n_rows, int64_t n_cols, int64_t n_head, RowsTo to) {
  if (n_head < 1 || n_head > n_rows || n_rows % n_head != 0 || n_rows / n_head % 2 != 0) return false;
  std::vector<float> moved(b.size());
  for (int64_t row = 0; row < n_rows; ++row) {
    const int64_t hf = hf_row(row, n_rows / n_head);
    const int64_t from = to == RowsTo::gguf ? hf : row, target = to == RowsTo::gguf ? row : hf;
    std::copy_n(b.begin() + from * n_cols, n_cols, moved.begin() + target * n_cols);
  }
  b = std::move(moved);
  return true;
}

}  // namespace lora
