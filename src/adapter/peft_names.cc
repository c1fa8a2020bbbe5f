#include "adapter/peft_names.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "base/error.h"
#include "base/numbers.h"
#include "base/printable.h"

namespace lora {
namespace {

bool remove_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// What stands before the layers: nothing where the adapter sits on a model without a head, more where the
// model also sees.
void remove_model(std::string_view& module) {
  for (const std::string_view prefix : hf::kPrefixes) {
    if (remove_prefix(module, prefix)) break;
  }
}

// The number that stands in a module's name for the pattern's #; -1 if the pattern has none. nullopt if it is
// another name.
std::optional<int64_t> expert_of(std::string_view pattern, std::string_view module) {
  const size_t at = pattern.find('#');
  if (at == pattern.npos) return module == pattern ? std::optional<int64_t>(-1) : std::nullopt;
  if (!remove_prefix(module, pattern.substr(0, at))) return std::nullopt;
  const auto expert = take_number<uint16_t>(module);
  return expert && module == pattern.substr(at + 1) ? std::optional<int64_t>(*expert) : std::nullopt;
}

}  // namespace

std::optional<PeftInLayer> peft_in_layer(const HfFamily& family, std::string_view module) {
  remove_model(module);
  if (!remove_prefix(module, family.layers)) return std::nullopt;
  const auto layer = take_number<uint32_t>(module);
  if (!layer || !remove_prefix(module, ".")) return std::nullopt;
  return PeftInLayer{*layer, module};
}

std::vector<PeftTarget> peft_targets(std::string_view architecture, std::string_view module) {
  const Architecture* arch = find_hf_family(architecture);
  if (arch == nullptr) return {};
  const HfFamily& family = *arch->hf;
  std::vector<PeftTarget> targets;
  const auto look_at = [&](const HfModule& m, const std::string& layer) {
    if (!m.is_linear() || (m.stack != Stack::none && m.stack != Stack::each)) return;
    const auto expert = expert_of(m.hf, module);
    if (expert) targets.push_back({fmt::format("{}{}.weight", layer, m.gguf), &m, *expert});
  };
  if (const auto in_layer = peft_in_layer(family, module)) {
    module = in_layer->module;
    const std::string layer = fmt::format("blk.{}.", in_layer->layer);
    for_each_layer_module(family, [&](const HfModule& m) { look_at(m, layer); });
  } else {
    remove_model(module);
    for (const HfModule& m : family.root) look_at(m, "");
  }
  return targets;
}

std::optional<PeftModule> peft_module(std::string_view architecture, std::string_view base) {
  const Architecture* arch = find_hf_family(architecture);
  const auto place = arch ? find_hf_matrix(*arch->hf, base) : std::nullopt;
  if (!place || place->module->stack != Stack::none) return std::nullopt;
  const HfFamily& family = *arch->hf;
  const bool is_output = place->module == &family.root.back();
  const std::string layer = place->layer ? fmt::format("{}{}.", family.layers, *place->layer) : "";
  return PeftModule{fmt::format("{}{}{}", is_output ? "" : family.prefix, layer, place->module->hf),
                    place->module};
}

void check_peft_knows(const std::string& path, std::string_view architecture) {
  if (find_hf_family(architecture) != nullptr) return;
  std::string known;
  for (const Architecture* row : architectures()) {
    if (row->hf) known += fmt::format("{}{}", known.empty() ? "" : ", ", row->name);
  }
  fail("{}: architecture {}: the names of its modules at Hugging Face are not known here (known: {})", path,
       printable(architecture), known);
}

std::vector<int64_t> rows_of_part(const HfModule& module, int64_t n) {
  if (is_half(module.of_hf)) return hf_half(module, n);
  std::vector<int64_t> rows(static_cast<size_t>(n));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return rows;
}

std::vector<int64_t> peft_rows(std::string_view architecture, const HfModule& module, int64_t n_rows,
                               bool all_of_hf, const PeftHeads& heads, const std::string& what) {
  const HfFamily& family = *find_hf_family(architecture)->hf;
  if (is_half(module.of_hf)) {
    if (all_of_hf && n_rows % 2 != 0) fail("{}: expected gate and up, found {} rows", what, n_rows);
    return hf_half(module, all_of_hf ? n_rows / 2 : n_rows);
  }
  if (!needs_head_counts(family, module)) return {};
  if (module.delta != DeltaOrder::as_is) {
    if (!heads.delta.make_sense()) fail("{}: a delta net's heads are not known, or make no sense", what);
    std::vector<int64_t> rows = delta_rows(module.delta, heads.delta);
    const int64_t n = all_of_hf && is_packed(module.delta) ? packed_rows(heads.delta) : int64_t(rows.size());
    if (!rows.empty() && n_rows != n)
      fail("{}: expected {} rows for the delta net's heads, found {}", what, n, n_rows);
    return rows;
  }
  const bool is_pack =
      (all_of_hf && module.of_hf != Rows::all) || (module.of_hf == Rows::all && module.grouped);
  const bool is_q = module.order == RowOrder::heads || module.of_hf == Rows::q;
  const bool makes_sense = heads.make_sense();
  const int64_t n = is_pack && makes_sense ? heads.n_head + 2 * heads.n_head_kv
                    : is_q                 ? heads.n_head
                                           : heads.n_head_kv;
  if (!makes_sense || n > n_rows || n_rows % n != 0 || n_rows / n % 2 != 0)
    fail("{}: expected a multiple of 2 rows for each of {} heads, found {}", what, n, n_rows);
  return hf_rows(family, module, {heads.n_head, heads.n_head_kv, n_rows / n});
}

std::vector<int64_t> peft_columns(const HfModule& module, int64_t n_cols, const PeftHeads& heads,
                                  const std::string& what) {
  if (module.delta != DeltaOrder::columns) return {};
  if (!heads.delta.make_sense() || heads.delta.n_values() != n_cols)
    fail("{}: {} columns do not fit the delta net's heads", what, n_cols);
  return delta_columns(module.delta, heads.delta);
}

std::string unknown_factors(const PeftBase& base) {
  const Architecture* found = find_hf_family(base.architecture);
  if (!found || !found->hf->row_factors || base.factors) return "";
  return fmt::format(
      "weights of {} hold factors of config.json, which the model file does not tell ({}.hf.*): taken as 1, "
      "which is wrong for most such models; --base with the model's folder knows them",
      found->name, found->name);
}

void multiply_rows(std::vector<float>& values, int64_t n_cols, const std::vector<RowFactors>& factors,
                   bool divide) {
  for (size_t r = 0; r < factors.size(); ++r) {
    const double factor = double(factors[r][0]) * double(factors[r][1]);
    for (size_t i = r * size_t(n_cols); i < (r + 1) * size_t(n_cols); ++i)
      values[i] = float(divide ? double(values[i]) / factor : double(values[i]) * factor);
  }
}

std::vector<float> gather_rows(const std::vector<float>& values, int64_t n_cols,
                               const std::vector<int64_t>& rows) {
  if (rows.empty()) return values;
  std::vector<float> result(rows.size() * size_t(n_cols));
  for (size_t i = 0; i < rows.size(); ++i)
    std::copy_n(values.begin() + rows[i] * n_cols, n_cols, result.begin() + int64_t(i) * n_cols);
  return result;
}

std::vector<float> scatter_rows(const std::vector<float>& values, int64_t n_cols,
                                const std::vector<int64_t>& rows) {
  if (rows.empty()) return values;
  std::vector<float> result(values.size());
  for (size_t i = 0; i < rows.size(); ++i)
    std::copy_n(values.begin() + int64_t(i) * n_cols, n_cols, result.begin() + rows[i] * n_cols);
  return result;
}

std::vector<float> gather_columns(const std::vector<float>& values, const std::vector<int64_t>& columns) {
  if (columns.empty()) return values;
  std::vector<float> result(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t c = i % columns.size();
    result[i] = values[i - c + size_t(columns[c])];
  }
  return result;
}

std::vector<float> scatter_columns(const std::vector<float>& values, const std::vector<int64_t>& columns) {
  if (columns.empty()) return values;
  std::vector<float> result(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t c = i % columns.size();
    result[i - c + size_t(columns[c])] = values[i];
  }
  return result;
}

}  // namespace lora
