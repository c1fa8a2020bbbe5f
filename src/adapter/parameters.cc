#include "adapter/parameters.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "adapter/head_parts.h"
#include "adapter/pairs.h"
#include "base/error.h"
#include "base/random.h"

namespace lora {
namespace {

// Where the model computes with a tensor: the adapters there, and which of the tensor's rows they change.
struct Place {
  std::vector<LoraView>* loras;
  int64_t first_row = 0, slice = 0;
};
std::vector<Place> places_of(Model& model, std::string_view tensor) {
  if (tensor == kTokenEmbedding) return {{&model.embedding.loras, 0}};
  std::vector<Place> places;
  for (Linear* linear : model.find_linears(tensor))
    places.push_back({&linear->loras, linear->first_row, linear->slice});
  if (places.empty())
    fail("{}: tensor {}: not one that an adapter can change here", model.gguf.path(), tensor);
  return places;
}

// Parts of a fused tensor share A, and have the rows of B that are theirs; matrices of a stack have their own
// A and B. n_in, n_out: of a whole matrix.
void attach_pair(Model& model, std::string_view tensor, int64_t n_in, int64_t n_out, const LoraView& whole) {
  for (const Place& place : places_of(model, tensor)) {
    LoraView part = whole;
    const int64_t a = place.slice * whole.rank * n_in;
    const int64_t b = (place.slice * n_out + place.first_row) * whole.rank;
    part.a += a;
    part.b += b;
    if (part.da) part.da += a;
    if (part.db) part.db += b;
    if (place.slice > 0) part.stream = stream_id(fmt::format("{} {}", tensor, place.slice));
    place.loras->push_back(part);
  }
}

// Pairs begin on cache lines.
int64_t padded(int64_t n) {
  return (n + 15) / 16 * 16;
}

// The order in which pairs lie in memory: as the guide's flags, then by name.
std::vector<std::string_view> in_order(const Ranks& ranks) {
  std::vector<std::string_view> names;
  for (const RankFlag& row : rank_flags()) {
    if (ranks.contains(row.tensor)) names.push_back(row.tensor);
  }
  for (const auto& [name, rank] : ranks) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return names;
}

// Of a tensor that can be trained; nullopt if the model has none of that name.
std::optional<PairShape> trained_shape(const Model& model, const std::string& tensor) {
  const MatrixView& table = model.embedding.table;
  if (tensor == kTokenEmbedding) return PairShape{table.n_rows, table.n_cols};
  if (const Norm* norm = model.find_norm(tensor)) return PairShape{norm->n(), 1};
  PairShape shape;
  for (const Linear* linear : model.find_linears(tensor)) {
    shape.n_in = linear->n_in();
    shape.n_slices = linear->n_slices;
    if (linear->slice == 0) shape.n_out += linear->n_out();
  }
  return shape.n_out > 0 ? std::optional(shape) : std::nullopt;
}

// layers: empty for all.
std::vector<LoraParameters::Pair> pairs_of(const Model& model, std::string_view name, int64_t rank,
                                           std::span<const int64_t> layers = {}) {
  std::vector<LoraParameters::Pair> pairs;
  const auto add = [&](const std::string& tensor) {
    if (const auto shape = trained_shape(model, tensor))
      pairs.push_back({tensor, shape->n_in, shape->n_out, rank, 0, 0, shape->n_slices});
  };
  add(fmt::format("{}.weight", name));
  for (int64_t layer = 0; layer < model.config.n_layer; ++layer) {
    if (layers.empty() || std::ranges::find(layers, layer) != layers.end())
      add(fmt::format("blk.{}.{}.weight", layer, name));
  }
  return pairs;
}

// One pair for each tensor that has a rank, places not yet given.
std::vector<LoraParameters::Pair> pairs_of(const Model& model, const Ranks& ranks,
                                           std::span<const int64_t> layers) {
  std::vector<LoraParameters::Pair> pairs;
  for (const std::string_view name : in_order(ranks)) {
    const int64_t rank = ranks.find(name)->second;
    if (rank == 0) continue;
    const auto of_name = pairs_of(model, name, rank, layers);
    if (of_name.empty()) {
      fail("{}: tensor {}: the model has none to train{}", model.gguf.path(), name,
           name == "output" && model.tied ? " (the token embedding serves as output)" : "");
    }
    pairs.insert(pairs.end(), of_name.begin(), of_name.end());
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

std::string_view part_name(std::string_view tensor) {
  if (tensor.ends_with(".weight")) tensor.remove_suffix(std::string_view(".weight").size());
  if (tensor.starts_with("blk.")) tensor.remove_prefix(tensor.find('.', 4) + 1);
  return tensor;
}

bool has_tensor(const Model& model, std::string_view name, std::span<const int64_t> layers) {
  return !pairs_of(model, name, 1, layers).empty();
}

std::span<const RankFlag> rank_flags() {
  static constexpr RankFlag rows[] = {
      {"wq", "attn_q"},   {"wk", "attn_k"},          {"wv", "attn_v"},         {"wo", "attn_output"},
      {"w1", "ffn_gate"}, {"w2", "ffn_down"},        {"w3", "ffn_up"},         {"tok-embd", "token_embd"},
      {"out", "output"},  {"att-norm", "attn_norm"}, {"ffn-norm", "ffn_norm"}, {"out-norm", "output_norm"},
  };
  return rows;
}

std::string rank_flag_of(std::string_view tensor) {
  const auto row = std::ranges::find(rank_flags(), tensor, &RankFlag::tensor);
  return row == rank_flags().end() ? fmt::format("--rank {}", tensor) : fmt::format("--rank-{}", row->flag);
}

Ranks ranks_of(const Model& model, const Ranks& given, int64_t otherwise,
               const std::function<std::string(std::string_view)>& flag_of) {
  Ranks ranks = given;
  std::string has;
  const std::vector<std::string_view> routed = routed_tensors(model);
  for (const std::string_view name : block_tensors(model)) {
    ranks.emplace(name, std::ranges::find(routed, name) == routed.end() ? otherwise : 0);
    has += fmt::format("{}{}", has.empty() ? "" : ", ", name);
  }
  for (const auto& [name, rank] : given) {
    // 0 is what no flag says of these.
    const bool is_apart = name == "token_embd" || name == "output" || name.ends_with("_norm");
    const bool is_short = name == part_name(name) && !name.starts_with("blk.");
    if (is_short && (!pairs_of(model, name, 1).empty() || (rank == 0 && is_apart))) continue;
    fail("{}: {} has no such tensor to train{} (its blocks have {})", flag_of(name), model.gguf.path(),
         name == "output" && model.tied ? ": the token embedding serves as output" : "", has);
  }
  return ranks;
}

int64_t parameter_bytes(const Model& model, const Ranks& ranks, std::span<const int64_t> layers) {
  int64_t n = 0;
  for (const auto& pair : pairs_of(model, ranks, layers)) n += pair.a_size() + pair.b_size();
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

LoraParameters make_parameters(const Model& model, const Ranks& ranks, float alpha, uint64_t seed,
                               bool rslora, std::span<const int64_t> layers) {
  LoraParameters parameters = make_parameters(pairs_of(model, ranks, layers), alpha, rslora);
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
    pairs.push_back({pair.base, pair.n_in, pair.n_out, pair.rank, 0, 0, pair.n_slices});
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
    attach_pair(model, pair.base, pair.n_in, pair.n_out,
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
    attach_pair(
        model, pair.base, pair.n_in, pair.n_out,
        {pair.a.data(), pair.b.data(), pair.rank, user_scale * adapter.scale(pair), nullptr, nullptr});
  }
}

Adapter to_adapter(const LoraParameters& parameters, const Model& model) {
  Adapter adapter;
  adapter.architecture = std::string(model.config.architecture->name);
  adapter.alpha = parameters.alpha;
  adapter.heads = head_parts(model.gguf);
  for (const auto& pair : parameters.pairs) {
    if (pair.is_norm()) continue;
    const float* a = &parameters.values[pair.a];
    const float* b = &parameters.values[pair.b];
    adapter.pairs.push_back({pair.base,
                             pair.n_in,
                             pair.n_out,
                             pair.rank,
                             {a, a + pair.a_size()},
                             {b, b + pair.b_size()},
                             pair.n_slices});
    if (parameters.rslora) fold_scale(adapter, adapter.pairs.back(), double(parameters.scale(pair)));
  }
  adapter.base_model = model.gguf.get_string("general.name").value_or("");
  adapter.name = adapter.base_model.empty() ? "LoRA" : adapter.base_model + " LoRA";
  return adapter;
}

}  // namespace lora
