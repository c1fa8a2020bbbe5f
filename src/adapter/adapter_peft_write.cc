#include <cmath>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "adapter/adapter.h"
#include "adapter/pairs.h"
#include "adapter/peft_names.h"
#include "base/error.h"
#include "base/file.h"
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
          {"fan_in_fan_out", false},
          {"inference_mode", true},
          {"lora_dropout", 0.0},
          {"modules_to_save", Json()},
          {"use_dora", false},
          {"use_rslora", false}};
}

}  // namespace

std::vector<std::string> peft_files(const std::string& folder) {
  return {folder + "/adapter_model.safetensors", folder + "/adapter_config.json"};
}

void write_adapter_peft(const Adapter& adapter, const PeftBase& base, int64_t n_layer,
                        const std::string& folder, Type type) {
  check_peft_knows(folder, adapter.architecture);
  std::vector<Module> modules;
  std::vector<SafeTensor> tensors;
  std::deque<std::vector<std::byte>> bytes;  // that the tensors refer to
  for (const LoraPair& pair : adapter.pairs) {
    const auto module = peft_module(adapter.architecture, pair.base);
    if (!module) {
      fail("{}: tensor {}: architecture {} has no module for it at Hugging Face", folder,
           printable(pair.base), adapter.architecture);
    }
    modules.push_back({*module, &pair});
    std::vector<float> b = pair.b;
    if (module->order != RowOrder::as_is) {
      const int64_t n_head = module->order == RowOrder::heads ? base.n_head : base.n_head_kv;
      if (!reorder_rows(b, pair.n_out, pair.rank, n_head, RowsTo::hf)) {
        fail("{}: tensor {}: expected a multiple of 2 rows for each of {} heads, found {}", folder,
             printable(pair.base), n_head, pair.n_out);
      }
    }
    const bool is_embedding = pair.base == kTokenEmbedding;
    const auto add = [&](const char* half, const std::vector<float>& values, std::vector<int64_t> shape) {
      const std::string name =
          fmt::format("base_model.model.{}.lora_{}{}", module->name, is_embedding ? "embedding_" : "", half) +
          (is_embedding ? "" : ".weight");
      bytes.push_back(encode_matrix(values, type, folder, name));
      tensors.push_back({name, std::string(traits(type).name), std::move(shape), bytes.back()});
    };
    add("A", pair.a, {pair.rank, pair.n_in});
    add("B", b, {pair.n_out, pair.rank});
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
