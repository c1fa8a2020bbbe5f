#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "adapter/adapter.h"
#include "adapter/pairs.h"
#include "adapter/parameters.h"
#include "adapter/peft_experts.h"
#include "adapter/peft_names.h"
#include "adapter/pieces.h"
#include "base/error.h"
#include "base/file.h"
#include "base/plural.h"
#include "base/printable.h"
#include "gguf/safetensors.h"

namespace lora {
namespace {

using Json = nlohmann::ordered_json;

struct Module {
  std::string name;                // "model.layers.0.self_attn.q_proj"; of a parameter, its path
  const LoraPair* pair = nullptr;  // as PEFT has it
  int64_t rank = 0;                // as adapter_config.json has it
  std::string wrapper = {};        // of a parameter: the module that its tensors are named after
  bool transposed = false;         // its weight has a column for each output
};

// What target_modules and patterns say for the modules of all layers: "q_proj" of
// "model.layers.0.self_attn.q_proj"; more of the name where experts' modules end so, too, and of parameters.
std::string short_name(const Module& module, const HfFamily& family) {
  const auto behind_dot = [&](size_t end) { return module.name.rfind('.', end) + 1; };
  size_t at = behind_dot(module.name.npos);
  const std::string last = fmt::format(".{}", module.name.substr(at));
  bool is_of_experts = !module.wrapper.empty();
  for_each_layer_module(family, [&](const HfModule& m) {
    is_of_experts = is_of_experts || (m.stack == Stack::each && m.hf.ends_with(last));
  });
  if (is_of_experts && at > 1) at = behind_dot(at - 2);
  return module.name.substr(at);
}

// One key per module, or per short name where all modules that are called so agree.
Json pattern(const std::vector<Module>& modules, const HfFamily& family, int64_t r) {
  std::map<std::string, std::set<int64_t>> ranks;
  for (const Module& m : modules) ranks[short_name(m, family)].insert(m.rank);
  Json result = Json::object();
  for (const Module& m : modules) {
    if (m.rank == r) continue;
    const std::string part = short_name(m, family);
    result[ranks[part].size() == 1 ? part : m.name] = m.rank;
  }
  return result;
}

// A short name stands for the modules of all layers, so it may only be used where each has its pair.
Json targets(const std::vector<Module>& modules, const HfFamily& family, int64_t n_layer, bool parameters) {
  std::map<std::string, int64_t> counts;
  for (const Module& m : modules) ++counts[short_name(m, family)];
  std::set<std::string> result;
  for (const Module& m : modules) {
    if (m.wrapper.empty() == parameters) continue;
    const std::string part = short_name(m, family);
    const bool is_root = m.name.find(".layers.") == std::string::npos;
    result.insert(is_root || counts[part] == n_layer ? part : m.name);
  }
  return result.empty() ? Json::array() : Json(result);
}

Json json_number(float value) {
  if (std::fabs(value) < 1e9f && value == std::floor(value)) return int64_t(value);
  return value;
}

Json config_of(const Adapter& adapter, const std::vector<Module>& modules, int64_t n_layer) {
  const HfFamily& family = *find_hf_family(adapter.architecture)->hf;
  std::map<int64_t, size_t> counts;
  int64_t r = 0;
  for (const Module& m : modules) {
    if (++counts[m.rank] > counts[r]) r = m.rank;
  }
  const Json ranks = pattern(modules, family, r);
  const Json parameters = targets(modules, family, n_layer, true);
  // An alpha of 0 means a scale of 1, so alpha is each tensor's rank.
  const bool is_one = adapter.alpha == 0;
  return {{"peft_type", "LORA"},
          {"task_type", "CAUSAL_LM"},
          {"base_model_name_or_path", adapter.base_model.empty() ? Json() : Json(adapter.base_model)},
          {"r", r},
          {"lora_alpha", is_one ? Json(r) : json_number(adapter.alpha)},
          {"rank_pattern", ranks},
          {"alpha_pattern", is_one ? ranks : Json::object()},
          {"target_modules", targets(modules, family, n_layer, false)},
          {"target_parameters", parameters.empty() ? Json() : parameters},
          {"bias", "none"},
          {"fan_in_fan_out", std::ranges::any_of(modules, [](const Module& m) { return m.transposed; })},
          {"inference_mode", true},
          {"lora_dropout", 0.0},
          {"modules_to_save", Json()},
          {"use_dora", false},
          {"use_rslora", false}};
}

// Several tensors of an adapter that are one module, or parameter, at Hugging Face.
struct ModuleParts {
  size_t place = 0;  // in the list of modules
  int64_t n_out = 0;
  std::vector<Piece> pieces;
};

// Puts together what PEFT has for an adapter's pairs: rows in Hugging Face's order, tensors that are one
// module there joined.
struct Writer {
  const Adapter& adapter;
  const PeftBase& base;
  const std::string& folder;
  std::deque<LoraPair>& moved;  // pairs that are not the adapter's as they stand
  std::vector<Module> modules{};
  std::map<std::string, ModuleParts> parts{};

  void add(const LoraPair& pair) {
    const auto parameter = pair.n_slices > 1 ? peft_parameter(adapter.architecture, pair.base) : std::nullopt;
    const auto module = parameter ? std::nullopt : peft_module(adapter.architecture, pair.base);
    if (parameter) return add_parameter(pair, *parameter);
    if (!module || pair.n_slices > 1) {
      fail("{}: tensor {}: architecture {} has no module for it at Hugging Face", folder,
           printable(pair.base), adapter.architecture);
    }
    if (module->module->is_router) {
      fail(
          "{}: tensor {}: a router, which transformers keep as a parameter that PEFT cannot adapt; train "
          "without "
          "--rank {} to take the LoRA there",
          folder, printable(pair.base), part_name(pair.base));
    }
    const PeftHeads heads{base.n_head, base.n_head_kv, base.delta};
    const std::string what = fmt::format("{}: tensor {}", folder, printable(pair.base));
    std::vector<int64_t> rows =
        peft_rows(adapter.architecture, *module->module, pair.n_out, false, heads, what);
    const std::vector<int64_t> columns = peft_columns(*module->module, pair.n_in, heads, what);
    if (is_packed(module->module->delta))
      return add_part(module->name, "", pair, std::move(rows), packed_rows(base.delta));
    const Rows of_hf = module->module->of_hf;
    if (of_hf == Rows::all) {
      modules.push_back({module->name, &pair, pair.rank, "", module->module->transposed});
      std::vector<RowFactors> factors;
      if (base.factors) factors = base.factors(*module->module, pair.n_out);
      if (rows.empty() && columns.empty() && factors.empty()) return;
      LoraPair& own = moved.emplace_back(pair);
      own.a = scatter_columns(pair.a, columns);
      multiply_rows(own.b, pair.rank, factors, true);
      own.b = scatter_rows(own.b, pair.rank, rows);
      modules.back().pair = &own;
      return;
    }
    const int64_t n_head = of_hf == Rows::q ? base.n_head : base.n_head_kv;
    const int64_t n_out =
        is_half(of_hf) ? 2 * pair.n_out : (base.n_head + 2 * base.n_head_kv) * (pair.n_out / n_head);
    add_part(module->name, "", pair, std::move(rows), n_out);
  }

  void add_parameter(const LoraPair& pair, const PeftParameter& parameter) {
    const auto part = std::ranges::find(parameter.parts, pair.base, &PeftTarget::base);
    add_part(parameter.path(), parameter.module, pair, rows_of_part(*part->module, pair.n_out),
             int64_t(parameter.parts.size()) * pair.n_out);
  }

  void add_part(const std::string& name, const std::string& wrapper, const LoraPair& pair,
                std::vector<int64_t> rows, int64_t n_out) {
    ModuleParts& whole = parts[name];
    if (whole.pieces.empty()) {
      whole.place = modules.size();
      whole.n_out = n_out;
      modules.push_back({name, nullptr, 0, wrapper, false});
    }
    const LoraPair& first = whole.pieces.empty() ? pair : *whole.pieces.front().pair;
    if (pair.n_in != first.n_in || pair.n_slices != first.n_slices || n_out != whole.n_out) {
      fail("{}: tensor {}: does not fit {}, with which it is one module at Hugging Face", folder,
           printable(pair.base), printable(first.base));
    }
    whole.pieces.push_back({&pair, std::move(rows), double(adapter.scale(pair))});
  }

  void finish(const std::function<void(std::string_view)>& say) {
    std::vector<std::string> stacked;
    for (const auto& [name, whole] : parts) {
      Joined joined = join(whole.pieces.front().pair->base, whole.pieces, whole.n_out);
      if (joined.is_stacked) stacked.push_back(name);
      Module& module = modules[whole.place];
      module.rank = joined.pair.rank;
      const double wanted = adapter.alpha == 0 ? 1 : double(adapter.alpha) / double(module.rank);
      if (joined.scale != wanted) {
        for (float& value : joined.pair.b) value = float(double(value) * (joined.scale / wanted));
      }
      module.pair =
          &moved.emplace_back(module.wrapper.empty() ? std::move(joined.pair) : parameter_pair(joined.pair));
    }
    wrap_parameters();
    if (!stacked.empty() && say) {
      say(fmt::format("{} {} at Hugging Face what the adapter has apart: joined, their ranks add up",
                      list_of(stacked, 3), stacked.size() == 1 ? "is" : "are"));
    }
  }

  // Parameters of one module wrap it in their order, the last one outermost.
  void wrap_parameters() {
    std::map<std::string, std::vector<Module*>> by_wrapper;
    for (Module& m : modules) {
      if (!m.wrapper.empty()) by_wrapper[m.wrapper].push_back(&m);
    }
    for (auto& [wrapper, inner] : by_wrapper) {
      std::string name = wrapper;
      const std::vector<PeftParameter> all = peft_parameters(adapter.architecture, wrapper);
      for (auto parameter = all.rbegin(); parameter != all.rend(); ++parameter) {
        const auto found = std::ranges::find(inner, parameter->path(), &Module::name);
        if (found == inner.end()) continue;
        (*found)->wrapper = name;
        name += ".base_layer";
      }
    }
  }
};

}  // namespace

std::vector<std::string> peft_files(const std::string& folder) {
  return {folder + "/adapter_model.safetensors", folder + "/adapter_config.json"};
}

void write_adapter_peft(const Adapter& adapter, const PeftBase& base, int64_t n_layer,
                        const std::string& folder, Type type,
                        const std::function<void(std::string_view)>& say) {
  check_peft_knows(folder, adapter.architecture);
  std::deque<LoraPair> moved;  // whose rows are Hugging Face's
  Writer writer{adapter, base, folder, moved};
  for (const LoraPair& pair : adapter.pairs) writer.add(pair);
  writer.finish(say);
  if (const std::string unknown = unknown_factors(base); !unknown.empty() && say)
    say(fmt::format("warning: {}: {}", folder, unknown));
  std::vector<SafeTensor> tensors;
  std::deque<std::vector<std::byte>> bytes;  // that the tensors refer to
  for (const Module& module : writer.modules) {
    const LoraPair* pair = module.pair;
    const bool is_embedding = pair->base == kTokenEmbedding;
    const auto add = [&](const char* half, const std::vector<float>& values, std::vector<int64_t> shape) {
      const std::string name =
          fmt::format("base_model.model.{}.lora_{}{}", module.wrapper.empty() ? module.name : module.wrapper,
                      is_embedding ? "embedding_" : "", half) +
          (is_embedding ? "" : ".weight");
      bytes.push_back(encode_matrix(values, type, folder, name));
      tensors.push_back({name, std::string(traits(type).name), std::move(shape), bytes.back()});
    };
    add("A", pair->a, {pair->rank, pair->n_in});
    add("B", pair->b, {pair->n_out, pair->rank});
  }
  const std::string config =
      config_of(adapter, writer.modules, n_layer).dump(2, ' ', false, Json::error_handler_t::replace);
  const std::vector<std::string> paths = peft_files(folder);
  AtomicFile weights(paths[0]), settings(paths[1]);
  write_safetensors(weights, tensors, {{"format", "pt"}});
  settings.write(config + "\n");
  weights.sync();
  settings.sync();
  const SignalsWait until_both_are_there;
  weights.commit();
  settings.commit();
}

}  // namespace lora
