#include "adapter/parameters.h"

#include <algorithm>
#include <cmath>

#include "adapter/pairs.h"
#include "base/error.h"
#include "base/random.h"

namespace lora {
namespace {

// Where the model computes with a tensor: the adapters there, and which of the tensor's rows they change.
struct Place {
  std::vector<LoraView>* loras;
  int64_t first_row;
};
std::vector<Place> places_of(Model& model, std::string_view tensor) {
  if (tensor == kTokenEmbedding) return {{&model.embedding.loras, 0}};
  std::vector<Place> places;
  for (Linear* linear : model.find_linears(tensor)) places.push_back({&linear->loras, linear->first_row});
  if (places.empty()) fail("{}: tensor {}: not one that an adapter can change here", model.gguf.path(), tensor);
  return places;
}

// Parts of a fused tensor share A, and have the rows of B that are theirs.
void attach_pair(Model& model, std::string_view tensor, const LoraView& whole) {
  for (const Place& place : places_of(model, tensor)) {
    LoraView part = whole;
    part.b += place.first_row * whole.rank;
    if (part.db) part.db += place.first_row * whole.rank;
    place.loras->push_back(part);
  }
}

// Pairs begin on cache lines.
int64_t padded(int64_t n) {
  return (n + 15) / 16 * 16;
}

// One pair for each tensor whose target has a rank, places not yet given.
std::vector<LoraParameters::Pair> pairs_of(const Model& model, std::span<const int64_t> ranks) {
  std::vector<LoraParameters::Pair> pairs;
  const auto add = [&](const std::string& tensor, int64_t rank) {
    const bool is_table = tensor == kTokenEmbedding;
    const MatrixView& table = model.embedding.table;
    if (is_table) return pairs.push_back({tensor, table.n_rows, table.n_cols, rank, 0, 0});
    int64_t n_in = 0, n_out = 0;
    for (const Linear* linear : model.find_linears(tensor)) n_in = linear->n_in(), n_out += linear->n_out();
    if (n_out == 0) {
      fail("{}: tensor {}: the model has none to train{}", model.gguf.path(), tensor,
           model.tied ? " (the token embedding serves as output)" : "");
    }
    pairs.push_back({tensor, n_in, n_out, rank, 0, 0});
  };
  for (size_t i = 0; i < targets().size(); ++i) {
    const Target& target = targets()[i];
    if (ranks[i] == 0) continue;
    const auto add_one = [&](const std::string& tensor) {
      if (target.is_norm) {
        pairs.push_back({tensor, model.config.n_embd, 1, ranks[i], 0, 0});
      } else {
        add(tensor, ranks[i]);
      }
    };
    if (!target.per_layer) {
      add_one(std::string(target.tensor));
      continue;
    }
    for (int64_t layer = 0; layer < model.config.n_layer; ++layer) {
      add_one(fmt::format("blk.{}.{}.weight", layer, target.tensor));
    }
  }
  if (pairs.empty()) fail("lora: every rank is 0, nothing would be trained");
  return pairs;
}

void allocate(LoraParameters& parameters) {
  int64_t size = 0;
  for (auto& pair : parameters.pairs) {
    pair.a = size;
    pair.b = pair.a + padded(pair.a_size());
    size = pair.b + padded(pair.b_size());
  }
  for (Buffer<float>* buffer : {&parameters.values, &parameters.gradients, &parameters.m, &parameters.v}) {
    *buffer = Buffer<float>(size);
  }
}

}  // namespace

std::span<const Target> targets() {
  static constexpr Target rows[] = {
      {"wq", "attn_q", true},
      {"wk", "attn_k", true},
      {"wv", "attn_v", true},
      {"wo", "attn_output", true},
      {"w1", "ffn_gate", true},
      {"w2", "ffn_down", true},
      {"w3", "ffn_up", true},
      {"tok-embd", "token_embd.weight", false},
      {"out", "output.weight", false},
      {"att-norm", "attn_norm", true, true},
      {"ffn-norm", "ffn_norm", true, true},
      {"out-norm", "output_norm.weight", false, true},
  };
  return rows;
}

bool is_of(const Target& target, std::string_view tensor) {
  return target.per_layer ? tensor.ends_with(fmt::format(".{}.weight", target.tensor))
                          : tensor == target.tensor;
}

int64_t parameter_bytes(const Model& model, std::span<const int64_t> ranks) {
  int64_t n = 0;
  for (const auto& pair : pairs_of(model, ranks)) n += pair.a_size() + pair.b_size();
  return 4 * n * int64_t(sizeof(float));
}

float LoraParameters::scale(const Pair& pair) const {
  if (alpha == 0) return 1;
  return alpha / (rslora ? float(std::sqrt(double(pair.rank))) : float(pair.rank));
}

int64_t LoraParameters::n_values() const {
  int64_t n = 0;
  for (const Pair& pair : pairs) n += pair.a_size() + pair.b_size();
  return n;
}

int64_t LoraParameters::memory_bytes() const {
  return 4 * values.size() * int64_t(sizeof(float));
}

LoraParameters make_parameters(std::vector<LoraParameters::Pair> pairs, float alpha, bool rslora) {
  LoraParameters parameters;
  parameters.alpha = alpha;
  parameters.rslora = rslora;
  parameters.pairs = std::move(pairs);
  allocate(parameters);
  return parameters;
}

LoraParameters make_parameters(const Model& model, std::span<const int64_t> ranks, float alpha, uint64_t seed,
                               bool rslora) {
  LoraParameters parameters = make_parameters(pairs_of(model, ranks), alpha, rslora);
  for (const auto& pair : parameters.pairs) {
    const float bound = float(1 / std::sqrt(double(pair.n_in)));
    const uint64_t stream = stream_id(pair.base);
    for (int64_t i = 0; i < pair.a_size(); ++i) {
      parameters.values[pair.a + i] =
          bound * (2 * random_uniform(seed, Purpose::lora_init, stream, uint64_t(i)) - 1);
    }
  }
  return parameters;
}

LoraParameters make_parameters(const Adapter& adapter, bool rslora) {
  std::vector<LoraParameters::Pair> pairs;
  for (const LoraPair& pair : adapter.pairs) {
    pairs.push_back({pair.base, pair.n_in, pair.n_out, pair.rank, 0, 0});
  }
  LoraParameters parameters = make_parameters(std::move(pairs), adapter.alpha, rslora);
  for (size_t i = 0; i < adapter.pairs.size(); ++i) {
    const LoraParameters::Pair& pair = parameters.pairs[i];
    std::ranges::copy(adapter.pairs[i].a, &parameters.values[pair.a]);
    const float factor = adapter.scale(adapter.pairs[i]) / parameters.scale(pair);  // 1 without rslora
    for (int64_t k = 0; k < pair.b_size(); ++k) {
      parameters.values[pair.b + k] = adapter.pairs[i].b[size_t(k)] * factor;
    }
  }
  return parameters;
}

void attach(Model& model, LoraParameters& parameters) {
  for (const auto& pair : parameters.pairs) {
    if (pair.is_norm()) continue;
    attach_pair(model, pair.base,
                {&parameters.values[pair.a], &parameters.values[pair.b], pair.rank, parameters.scale(pair),
                 &parameters.gradients[pair.a], &parameters.gradients[pair.b], parameters.dropout,
                 stream_id(pair.base)});
  }
}

Attached::Attached(Model& model, LoraParameters& parameters) {
  for (const auto& pair : parameters.pairs) {
    if (pair.is_norm()) continue;
    for (const Place& place : places_of(model, pair.base)) changed_.push_back(place.loras);
  }
  attach(model, parameters);
}

Attached::~Attached() {
  for (std::vector<LoraView>* loras : changed_) loras->pop_back();
}

void attach(Model& model, const Adapter& adapter, float user_scale) {
  for (const LoraPair& pair : adapter.pairs) {
    attach_pair(model, pair.base,
                {pair.a.data(), pair.b.data(), pair.rank, user_scale * adapter.scale(pair), nullptr, nullptr});
  }
}

Adapter to_adapter(const LoraParameters& parameters, const Model& model) {
  Adapter adapter;
  adapter.architecture = std::string(model.config.architecture->name);
  adapter.alpha = parameters.alpha;
  for (const auto& pair : parameters.pairs) {
    if (pair.is_norm()) continue;
    const float* a = &parameters.values[pair.a];
    const float* b = &parameters.values[pair.b];
    adapter.pairs.push_back(
        {pair.base, pair.n_in, pair.n_out, pair.rank, {a, a + pair.a_size()}, {b, b + pair.b_size()}});
    if (parameters.rslora) fold_scale(adapter, adapter.pairs.back(), double(parameters.scale(pair)));
  }
  adapter.base_model = model.gguf.get_string("general.name").value_or("");
  adapter.name = adapter.base_model.empty() ? "LoRA" : adapter.base_model + " LoRA";
  return adapter;
}

}  // namespace lora
