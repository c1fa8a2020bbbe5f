#include "family_models.h"

#include "arch/hf.h"
#include "base/random.h"
#include "convert/hf_config.h"

namespace lora::test {
namespace {

HfStored numbers(const std::string& name, std::vector<int64_t> shape, double mean) {
  HfStored stored{"F32", std::move(shape), {}, {}};
  int64_t n = 1;
  for (const int64_t extent : stored.shape) n *= extent;
  for (int64_t i = 0; i < n; ++i) {
    const double u = random_uniform(11, Purpose::test, stream_id(name), uint64_t(i));
    stored.values.push_back(float(mean + 0.2 * (2 * u - 1)));
  }
  stored.bytes.assign(reinterpret_cast<const char*>(stored.values.data()),
                      stored.values.size() * sizeof(float));
  return stored;
}

}  // namespace

std::vector<const Architecture*> hf_families() {
  std::vector<const Architecture*> families;
  for (const Architecture* row : architectures()) {
    if (row->hf) families.push_back(row);
  }
  return families;
}

HfConfig config_of(const HfModel& model) {
  return parse_hf_config(model.config.dump(), model.name + "/config.json");
}

HfModel family_model(const Architecture& architecture, int64_t n_layer) {
  const HfFamily& family = *architecture.hf;
  HfModel model;
  model.name = model.architecture = architecture.name;
  model.byte_level = true;
  const bool is_tied = family.always_tied;
  model.config = {{"architectures", {family.classes.begin()->name}},
                  {"model_type", family.classes.begin()->model_type},
                  {family.sizes.n_embd, 64},
                  {family.sizes.n_ff, 96},
                  {family.sizes.n_layer, n_layer},
                  {family.sizes.n_head, 4},
                  {"num_key_value_heads", 2},
                  {"head_dim", 16},
                  {"vocab_size", byte_level_tokenizer()["model"]["vocab"].size() + 3},
                  {family.sizes.n_ctx, 512},
                  {"tie_word_embeddings", is_tied},
                  {family.norm_eps, 1e-5},
                  {family.computed.activation_key, family.computed.activation}};
  if (family.computed.query_scalar) model.config["query_pre_attn_scalar"] = 16;
  if (family.computed.caps_logits) {
    model.config["attn_logit_softcapping"] = 20.0;
    model.config["final_logit_softcapping"] = 10.0;
  }
  // MiniCPM's factors.
  model.config["scale_emb"] = 12;
  model.config["scale_depth"] = 1.4;
  model.config["dim_model_base"] = 32;
  // Falcon's own words for sizes; to others they say nothing.
  model.config["new_decoder_architecture"] = true;
  model.config["num_ln_in_parallel_attn"] = 1;
  model.config["num_kv_heads"] = 2;
  model.config["ffn_hidden_size"] = 96;

  const HfConfig config = config_of(model);
  const auto add = [&](const HfModule& module, const std::string& name) {
    if (module.of_gguf != Rows::all) return;
    const int64_t n_in = config.size(module.n_in);
    const int64_t n_rows = config.size(module.of_hf == Rows::all ? module.n_out : Dim::qkv);
    const bool is_vector = module.n_out == Dim::none;
    const double mean = is_vector && !family.norms_lack_one ? 1 : 0;
    model.tensors[name + ".weight"] = is_vector           ? numbers(name, {n_in}, mean)
                                      : module.transposed ? numbers(name, {n_in, n_rows}, 0)
                                                          : numbers(name, {n_rows, n_in}, 0);
    if (module.may_have_bias)
      model.tensors[name + ".bias"] = numbers(name + ".bias", {is_vector ? n_in : n_rows}, 0);
  };
  for (const HfModule& module : family.root) {
    const bool is_output = &module == &family.root.back();
    if (!is_output || !is_tied)
      add(module, std::string(is_output ? "" : family.prefix) + std::string(module.hf));
  }
  for (int64_t layer = 0; layer < config.n_layer; ++layer) {
    for (const auto& modules : family.layer) {
      for (const HfModule& module : modules)
        add(module, fmt::format("{}{}{}.{}", family.prefix, family.layers, layer, module.hf));
    }
  }
  return model;
}

}  // namespace lora::test
