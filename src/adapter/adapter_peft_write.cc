#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "adapter/adapter.h"
#include "adapter/pairs.h"
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
  PeftModule peft;
  const LoraPair* pair;
};

// "q_proj" of "model.layers.0.self_attn.q_proj": what target_modules and patterns usually say.
std::string last_part(const std::string& module) {
  return module.substr(module.rfind('.') + 1);
}

// One key per module, or per last part where all modules that end so agree.
Json pattern(const std::vector<Module>& modules, int64_t r) {
  std::map<std::string, std::set<int64_t>> ranks;
  for (const Module& m : modules) ranks[last_part(m.peft.name)].insert(m.pair->rank);
  Json result = Json::object();
  for (const Module& m : modules) {
    if (m.pair->rank == r) continue;
    const std::string part = last_part(m.peft.name);
    result[ranks[part].size() == 1 ? part : m.peft.name] = m.pair->rank;
  }
  return result;
}

// A last part stands for the modules of all layers, so it may only be used where each has its pair.
Json target_modules(const std::vector<Module>& modules, int64_t n_layer) {
  std::map<std::string, int64_t> counts;
  for (const Module& m : modules) ++counts[last_part(m.peft.name)];
  std::set<std::string> result;
  for (const Module& m : modules) {
    const std::string part = last_part(m.peft.name);
    const bool is_root = m.peft.name.find(".layers.") == std::string::npos;
    result.insert(is_root || counts[part] == n_layer ? part : m.peft.name);
  }
  return result;
}

Json number(float value) {
  if (std::fabs(value) < 1e9f && value == std::floor(value)) return int64_t(value);
  return value;
}

Json config_of(const Adapter& adapter, const std::vector<Module>& modules, int64_t n_layer) {
  std::map<int64_t, size_t> counts;
  int64_t r = 0;
  for (const Module& m : modules) {
    if (++counts[m.pair->rank] > counts[r]) r = m.pair->rank;
  }
  const Json ranks = pattern(modules, r);
  // An alpha of 0 means a scale of 1, so alpha is each tensor's rank.
  const bool is_one = adapter.alpha == 0;
  return {{"peft_type", "LORA"},
          {"task_type", "CAUSAL_LM"},
          {"base_model_name_or_path", adapter.base_model.empty() ? Json() : Json(adapter.base_model)},
          {"r", r},
          {"lora_alpha", is_one ? Json(r) : number(adapter.alpha)},
          {"rank_pattern", ranks},
          {"alpha_pattern", is_one ? ranks : Json::object()},
          {"target_modules", target_modules(modules, n_layer)},
          {"bias", "none"},
          {"fan_in_fan_out",
           std::ranges::any_of(modules, [](const Module& m) { return m.peft.module->transposed; })},
          {"inference_mode", true},
          {"lora_dropout", 0.0},
          {"modules_to_save", Json()},
          {"use_dora", false},
          {"use_rslora", false}};
}

// The modules with their pairs, rows in Hugging Face's order; tensors that are one module there are joined.
std::vector<Module> modules_of(const Adapter& adapter, const PeftBase& base, const std::string& folder,
                               std::deque<LoraPair>& moved,
                               const std::function<void(std::string_view)>& say) {
  std::vector<Module> modules;
  std::map<std::string, std::vector<Piece>> pieces;
  std::map<std::string, size_t> place;  // in `modules`
  for (const LoraPair& pair : adapter.pairs) {
    const auto module = peft_module(adapter.architecture, pair.base);
    if (!module) {
      fail("{}: tensor {}: architecture {} has no module for it at Hugging Face", folder,
           printable(pair.base), adapter.architecture);
    }
    std::vector<int64_t> rows =
        peft_rows(adapter.architecture, *module->module, pair.n_out, false, {base.n_head, base.n_head_kv},
                  fmt::format("{}: tensor {}", folder, printable(pair.base)));
    if (module->module->of_hf == Rows::all) {
      modules.push_back({*module, &pair});
      if (rows.empty()) continue;
      LoraPair& own = moved.emplace_back(pair);
      own.b = scatter_rows(pair.b, pair.rank, rows);
      modules.back().pair = &own;
      continue;
    }
    std::vector<Piece>& list = pieces[module->name];
    if (list.empty()) {
      place[module->name] = modules.size();
      modules.push_back({*module, nullptr});
    }
    list.push_back({&pair, std::move(rows), double(adapter.scale(pair))});
  }
  std::vector<std::string> stacked;
  for (const auto& [name, list] : pieces) {
    const LoraPair& first = *list.front().pair;
    const bool is_q = modules[place[name]].peft.module->of_hf == Rows::q;
    const int64_t dim = first.n_out / (is_q ? base.n_head : base.n_head_kv);
    const int64_t n_out = (base.n_head + 2 * base.n_head_kv) * dim;
    for (const Piece& piece : list) {
      if (piece.pair->n_in == first.n_in && std::ranges::max(piece.rows) < n_out) continue;
      fail("{}: tensor {}: does not fit {}, with which it is one module at Hugging Face", folder,
           printable(piece.pair->base), printable(first.base));
    }
    Joined joined = join(first.base, list, n_out);
    if (joined.is_stacked) stacked.push_back(name);
    LoraPair& whole = moved.emplace_back(std::move(joined.pair));
    const double wanted = adapter.alpha == 0 ? 1 : double(adapter.alpha) / double(whole.rank);
    if (joined.scale != wanted) {
      for (float& value : whole.b) value = float(double(value) * (joined.scale / wanted));
    }
    modules[place[name]].pair = &whole;
  }
  if (!stacked.empty() && say) {
    say(fmt::format("{} {} at Hugging Face what the adapter has apart: joined, their ranks add up",
                    list_of(stacked, 3), stacked.size() == 1 ? "is" : "are"));
  }
  return modules;
}

}  // namespace

std::vector<std::string> peft_files(const std::string& folder) {
  return {folder + "/adapter_model.safetensors", folder + "/adapter_config.json"};
}

void write_adapter_peft(const Adapter& adapter, const PeftBase& base, int64_t n_layer,
                        const std::string& folder, Type type,
                        const std::function<void(std::string_view)>& say) {
  check_peft_knows(folder, adapter.architecture);
  std::deque<LoraPair> moved;  // whose rows are Hugging Face's
  const std::vector<Module> modules = modules_of(adapter, base, folder, moved, say);
  std::vector<SafeTensor> tensors;
  std::deque<std::vector<std::byte>> bytes;  // that the tensors refer to
  for (const auto& [module, pair] : modules) {
    const bool is_embedding = pair->base == kTokenEmbedding;
    const auto add = [&](const char* half, const std::vector<float>& values, std::vector<int64_t> shape) {
      const std::string name =
          fmt::format("base_model.model.{}.lora_{}{}", module.name, is_embedding ? "embedding_" : "", half) +
          (is_embedding ? "" : ".weight");
      bytes.push_back(encode_matrix(values, type, folder, name));
      tensors.push_back({name, std::string(traits(type).name), std::move(shape), bytes.back()});
    };
    add("A", pair->a, {pair->rank, pair->n_in});
    add("B", pair->b, {pair->n_out, pair->rank});
  }
  const std::string config =
      config_of(adapter, modules, n_layer).dump(2, ' ', false, Json::error_handler_t::replace);
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
