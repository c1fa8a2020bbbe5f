#include "convert/hf_trust.h"

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "base/printable.h"

namespace lora {
namespace {

using Say = std::function<void(std::string_view)>;

void trust_output(HfConfig& config, const HfWeights& weights, const HfTensor* embedding, const Say& say) {
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

}  // namespace

void trust_weights(HfConfig& config, const HfWeights& weights, const Say& say) {
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
