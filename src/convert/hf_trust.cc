#include "convert/hf_trust.h"

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "base/printable.h"

namespace lora {
namespace {

void trust_output(HfConfig& config, const HfWeights& weights, const HfTensor* embedding,
                  const std::function<void(std::string_view)>& say) {
  const std::string name = weights.output_module(config.architecture->hf->root) + ".weight";
  const HfTensor* output = weights.find(name);
  if (!output) {
    if (config.tied == false)
      say(fmt::format("tie_word_embeddings: false, but the weights have no {}: the embedding is the output",
                      name));
    config.tied = true;
    return;
  }
  // A copy of the embedding is left out where config.json, or the class by default, says that it is one.
  const bool says_tied = config.is_tied(true);
  config.tied = says_tied && embedding && weights.are_equal(*output, *embedding);
  if (*config.tied) return;
  if (config.architecture->hf->always_tied) {
    fail("{}: tensor '{}': is not the embedding, and GGUF's {} has no output of its own",
         weights.path_of(*output), printable(name), config.architecture->name);
  }
  if (says_tied) say(fmt::format("tie_word_embeddings: true, but {} is not the embedding: it is kept", name));
}

// Biases that the class has where a key of config.json, true by default, does not say otherwise.
void trust_biases(const HfConfig& config, const HfWeights& weights, const std::string& prefix,
                  const std::function<void(std::string_view)>& say) {
  const HfFamily& family = *config.architecture->hf;
  for_each_layer_module(family, [&](const HfModule& module) {
    if (!module.bias_key) return;
    const auto stated = config.number(module.bias_key);
    bool are_kept = false;
    const int64_t n_layer = std::min(config.n_layer, int64_t(weights.tensors().size()));
    for (int64_t i = 0; i < n_layer; ++i) {
      const std::string name = fmt::format("{}{}{}.{}", prefix, family.layers, i, module.hf);
      if (!weights.find(fmt::format("{}{}", name, module.hf_end))) continue;  // another kind of layer
      const bool is_there = weights.find(name + ".bias");
      if (!is_there && stated.value_or(1) != 0) {
        fail("{}: {}: true{}, but tensor '{}.bias' is missing in the weights", config.path, module.bias_key,
             stated ? "" : " by default", printable(name));
      }
      are_kept |= is_there && stated == 0.0;
    }
    if (are_kept) say(fmt::format("{}: false, but the weights have some: they are kept", module.bias_key));
  });
}

}  // namespace

void trust_weights(HfConfig& config, const HfWeights& weights,
                   const std::function<void(std::string_view)>& say) {
  const HfFamily& family = *config.architecture->hf;
  const std::string prefix = weights.prefix(family.root).value_or("");
  const HfTensor* embedding = weights.find(fmt::format("{}{}.weight", prefix, family.root.front().hf));
  // As long as the file has bytes for: with columns.
  if (embedding && embedding->shape.size() == 2 && embedding->shape[1] == config.n_embd &&
      embedding->shape[0] > 0 && embedding->shape[0] != config.n_vocab) {
    say(fmt::format("vocab_size: {}, but the embedding has {} rows: these count", config.n_vocab,
                    embedding->shape[0]));
    config.n_vocab = embedding->shape[0];
  }
  trust_output(config, weights, embedding, say);
  const std::string ahead = family.ahead_prefix.empty()
                                ? fmt::format("{}{}{}.", prefix, family.layers, config.n_layer)
                                : std::string(family.ahead_prefix);
  if (config.n_ahead > 0 && std::ranges::none_of(weights.tensors(), [&](const auto& entry) {
        return entry.first.starts_with(ahead);
      })) {
    say(fmt::format("{}: {}, but the weights have no {}: the model is converted without",
                    family.ahead_prefix.empty() ? "num_nextn_predict_layers" : "mtp_num_hidden_layers",
                    config.n_ahead, ahead + "*"));
    config.n_ahead = 0;
  }
  trust_biases(config, weights, prefix, say);
  for (const auto& [key, stated, part] : {std::tuple("attention_bias", config.attention_bias, "self_attn"),
                                          std::tuple("mlp_bias", config.mlp_bias, "mlp")}) {
    const std::string begin = fmt::format("{}{}0.{}.", prefix, family.layers, part);
    const bool is_there = std::ranges::any_of(weights.tensors(), [&](const auto& entry) {
      return entry.first.starts_with(begin) && entry.first.ends_with(".bias");
    });
    if (!stated || *stated == is_there) continue;
    say(fmt::format("{}: {}, but the weights have {}: {}", key, *stated, is_there ? "some" : "none",
                    is_there ? "they are kept" : "the model is converted without"));
  }
}

}  // namespace lora
